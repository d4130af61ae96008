"""Classify the photographs of ImageNet, read file by file from a folder that the user has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from regrad.problems.batch import Batch, placed
from regrad.problems.classification import Classification
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.image_folders import Tree, image_root, read_image, read_tree
from regrad.problems.data.splits import Split, hash_share
from regrad.problems.models.resnet import ResNet, ResNetConfig
from regrad.problems.options import Count, ProblemOptions

HELD_OUT = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetOptions(ProblemOptions):
    """Options of an ImageNet problem; the numbers of classes and images pin the data, which no package brings."""

    packages: tuple[()] = ()  # data sets that are fetched by package: none
    classes: Count = 1000  # folders in each of ``train`` and ``val``
    train_images: Count = 1_281_167  # images under ``train``; 2 % of them, by hash of their names, are for validation
    test_images: Count = 50_000  # images under ``val``, which are the test split here
    # height and width that the middle square of a photograph is brought to
    size: Annotated[int, Field(strict=True, ge=8)] = 64
    depth: Count = 20  # layers of the network, 6n + 2
    width: Count = 64  # channels of its first stage
    groups: Count = 8  # groups of GroupNorm; divides ``width``
    evaluation_examples: Count = 5000  # images of a split that `evaluate` uses, at most; the seed says which

    @model_validator(mode="after")
    def _network_exists(self) -> Self:
        self.network()
        return self

    def network(self) -> ResNetConfig:
        return ResNetConfig(self.depth, self.width, 3, self.classes, "group", self.groups)


@dataclass
class ImageNetProblem(Classification):
    """Say what a photograph shows; ``arrays`` holds ``<split>_paths`` and ``<split>_labels`` [N].

    Departures: He et al. crop 224 × 224 pixels at random and mirror; here the middle square is small and
    nothing is augmented, and the network is their one for small images, wider.
    """

    Options = ImageNetOptions
    data_options = ("packages",)

    options: ImageNetOptions

    @classmethod
    def load(cls, options: ImageNetOptions, cache: Path) -> Arrays:
        """Read the folder that ``REGRAD_IMAGENET`` names; nothing is fetched or cached.

        Raises:
            DataError: The folder is missing or has other numbers of classes and images.
        """
        root = image_root()
        train = read_tree(root / "train", classes=options.classes, images=options.train_images)
        test = read_tree(root / "val", classes=options.classes, images=options.test_images)
        return held_out(train) | {"test_paths": np.array(list(map(str, test.paths))), "test_labels": test.labels}

    def network(self, generator: torch.Generator) -> ResNet:
        return ResNet(self.options.network(), generator=generator)

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Normalised images [B, 3, H, W] and labels [B]."""
        paths = self.arrays[f"{split}_paths"][places]
        pixels = torch.from_numpy(np.stack([read_image(Path(path), self.options.size) for path in paths]))
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        images = (pixels.float() / 255 - mean) / std
        labels = self.arrays[f"{split}_labels"][places]
        return Batch(placed(images, self.device), placed(labels, self.device))


def held_out(tree: Tree) -> Arrays:
    """Paths and labels of ``train`` and ``validation``: 2 % of the images, by hash of class and name."""
    shares = np.array([hash_share(f"{path.parent.name}/{path.name}".encode()) for path in tree.paths])
    paths, arrays = np.array(list(map(str, tree.paths))), Arrays()
    for split, mask in (("validation", shares < HELD_OUT), ("train", shares >= HELD_OUT)):
        arrays |= {f"{split}_paths": paths[mask], f"{split}_labels": tree.labels[mask]}
    return arrays
