"""Classify the photographs of ImageNet, read file by file from a folder that the user has."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import cross_entropy

from regrad.problems.batch import Batch, check_position, evaluating
from regrad.problems.data.image_folders import Tree, image_root, read_image, read_tree
from regrad.problems.data.splits import Split, hash_share
from regrad.problems.models.resnet import ResNet, ResNetConfig
from regrad.problems.options import Count, Options
from regrad.problems.randomness import EpochOrder, permutation, torch_generator

HELD_OUT = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetOptions(Options):
    """Options of an ImageNet problem; the numbers of classes and images pin the data, which no package brings.

    Attributes:
        packages: Data sets that are fetched by package: none.
        classes: Folders in each of ``train`` and ``val``.
        train_images: Images under ``train``; 2 % of them, by hash of their names, are for validation.
        test_images: Images under ``val``, which are the test split here.
        size: Height and width that the middle square of a photograph is brought to.
        depth: Layers of the network, 6n + 2.
        width: Channels of its first stage.
        groups: Groups of GroupNorm; divides ``width``.
        evaluation_examples: Images of a split that `evaluate` uses, at most; the seed says which.
        evaluation_batch: Images per forward pass in `evaluate`.
    """

    packages: tuple[()] = ()
    classes: Count = 1000
    train_images: Count = 1_281_167
    test_images: Count = 50_000
    size: Annotated[int, Field(strict=True, ge=8)] = 64
    depth: Count = 20
    width: Count = 64
    groups: Count = 8
    evaluation_examples: Count = 5000
    evaluation_batch: Count = 250

    @model_validator(mode="after")
    def _network_exists(self) -> Self:
        self.network()
        return self

    def network(self) -> ResNetConfig:
        """Shape of the network."""
        return ResNetConfig(self.depth, self.width, 3, self.classes, "group", self.groups)


@dataclass
class ImageNetProblem:
    """Say what a photograph shows.

    Attributes:
        options: What was asked for.
        trees: Images of ``train``, ``validation`` and ``test``.
        seed: Of initialisation, data order and evaluation subset, which use separate streams.
        device: Where models and batches live.

    Departures: He et al. crop 224 × 224 pixels at random and mirror; here the middle square is small and
    nothing is augmented, and the network is their one for small images, wider.
    """

    options: ImageNetOptions
    trees: dict[str, Tree]
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def init_model(self) -> ResNet:
        """A new model, the same for every call and device."""
        return ResNet(self.options.network(), generator=torch_generator(self.seed, "init")).to(self.device)

    @cached_property
    def order(self) -> EpochOrder:
        """The order of the training images."""
        return EpochOrder(len(self.trees["train"].paths), self.seed)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Training batch number ``step``, computed without the earlier ones: images [B, 3, H, W] and labels [B]."""
        check_position(step, batch_size)
        return self._examples("train", self.order.batch(step, batch_size))

    def _examples(self, split: Split, where: np.ndarray) -> Batch:
        tree = self.trees[split]
        pixels = torch.from_numpy(np.stack([read_image(tree.paths[k], self.options.size) for k in where]))
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        images = (pixels.float() / 255 - mean) / std
        return Batch(images.to(self.device), torch.from_numpy(tree.labels[where]).to(self.device))

    def losses(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each photograph's class in nats, [B], not divided by B."""
        return cross_entropy(model(batch.inputs), batch.targets, reduction="none")

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean "loss" in nats and "accuracy" (0 … 1) over the evaluation subset of a split."""
        count = len(self.trees[split].paths)
        chosen = np.sort(permutation(count, self.seed, "evaluation")[: self.options.evaluation_examples])
        loss, correct = 0.0, 0
        with evaluating(model):
            for part in np.array_split(chosen, math.ceil(len(chosen) / self.options.evaluation_batch)):
                batch = self._examples(split, part)
                logits = model(batch.inputs)
                loss += float(cross_entropy(logits, batch.targets, reduction="sum").double())
                correct += int((logits.argmax(dim=1) == batch.targets).sum())
        return {"loss": loss / len(chosen), "accuracy": correct / len(chosen)}


def divide(tree: Tree) -> dict[str, Tree]:
    """Return ``train`` and ``validation`` of the images under ``train``: 2 % are held out by hash of class and name."""
    shares = np.array([hash_share(f"{path.parent.name}/{path.name}".encode()) for path in tree.paths])
    found = {}
    for name, mask in (("validation", shares < HELD_OUT), ("train", shares >= HELD_OUT)):
        found[name] = Tree([tree.paths[k] for k in np.flatnonzero(mask)], tree.labels[mask], tree.classes)
    return found


def build(
    options: ImageNetOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> ImageNetProblem:
    """An ImageNet problem on the folder that ``REGRAD_IMAGENET`` names; nothing is fetched or cached.

    Args:
        options: What to build.
        cache: Not used.
        seed: Of everything random in the problem, >= 0.
        device: Where models and batches live.
        offline: Makes no difference.

    Raises:
        DataError: The folder is missing or has other numbers of classes and images.
    """
    del cache, offline
    root = image_root()
    trees = divide(read_tree(root / "train", classes=options.classes, images=options.train_images))
    trees["test"] = read_tree(root / "val", classes=options.classes, images=options.test_images)
    return ImageNetProblem(options, trees, seed, torch.device(device))
