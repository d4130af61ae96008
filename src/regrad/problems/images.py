"""Image classification with a residual network."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import nn
from torch.nn.functional import pad

from regrad.problems.batch import DTYPES, Batch, Dtype, Examples, placed
from regrad.problems.classification import Classification, class_losses
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.image_sets import CLASSES, ImageSet, load_images
from regrad.problems.data.splits import SPLITS, Split
from regrad.problems.models.resnet import MemoryFormat, ResNet, ResNetConfig
from regrad.problems.options import Count, OptionError, ProblemOptions, Switch
from regrad.problems.problem import Problem
from regrad.problems.randomness import random_bits

MARGIN = 4


class ImageOptions(ProblemOptions):
    """Options of an image problem."""

    images: ImageSet = "fashion-mnist"
    depth: Count = 20  # layers of the network, 6n + 2
    width: Count = 16  # channels of its first stage
    norm: Literal["batch", "group"] = "batch"
    groups: Count = 8  # groups of GroupNorm; divides `width`
    augment: Switch = False  # whether training images are shifted by up to 4 pixels and mirrored at random
    evaluation_examples: Count = 2000  # images of a split that `evaluate` uses, at most; the seed says which
    dtype: Dtype = "float32"
    memory_format: MemoryFormat = "contiguous"  # "channels_last" is faster on a CPU, and rounds otherwise

    @model_validator(mode="after")
    def _network_exists(self) -> Self:
        self.network(channels=1)
        return self

    def network(self, channels: int) -> ResNetConfig:
        classes = CLASSES[self.images]
        return ResNetConfig(self.depth, self.width, channels, classes, self.norm, self.groups, self.memory_format)


@dataclass
class ImageProblem(Classification):
    """Say which class an image belongs to; ``arrays`` is what `load_images` returns."""

    Options: ClassVar[type[ProblemOptions]] = ImageOptions
    data_options: ClassVar[tuple[str, ...]] = ("images",)

    options: ImageOptions

    def __post_init__(self) -> None:
        if not all(self.size(split) for split in SPLITS):
            raise OptionError(f"images={self.options.images!r}: a split has no images")

    @classmethod
    def load(cls, options: ImageOptions, cache: Path) -> Arrays:
        return load_images(options.images, cache)

    @property
    def channels(self) -> int:
        return self.arrays["train_images"].shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.options.dtype]

    def network(self, generator: torch.Generator) -> nn.Module:
        return ResNet(self.options.network(self.channels), generator=generator)

    def batch(self, step: int, batch_size: int) -> Examples:
        """As of every problem, images [B, C, H, W] and labels [B]; augmented if the options say so."""
        batch = super().batch(step, batch_size)
        if not self.options.augment:
            return batch
        numbers = range(step * batch_size, (step + 1) * batch_size)
        return Batch(self._augmented(batch.inputs, numbers), batch.targets)

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Normalised images [B, C, H, W] and labels [B]."""
        return normalised(self, split, places, self.dtype)

    def _augmented(self, images: torch.Tensor, numbers: range) -> torch.Tensor:
        """Pad by 4 zeros, crop to the old size at a random place, mirror one in two; by example number."""
        bits = np.array([random_bits(1, self.seed, "augmentation", k)[0] for k in numbers])
        places = 2 * MARGIN + 1
        down, right, mirrored = (
            placed(part.astype(np.int64), images.device)[:, None]
            for part in (bits % places, bits // places % places, bits >> np.uint64(63))
        )
        height, width = images.shape[2:]
        rows = torch.arange(height, device=images.device) + down
        columns = torch.arange(width, device=images.device).expand(len(images), -1)
        columns = torch.where(mirrored.bool(), width - 1 - columns, columns) + right
        padded = pad(images, (MARGIN,) * 4).movedim(1, -1)
        which = torch.arange(len(images), device=images.device)[:, None, None]
        return padded[which, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)

    def summed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Sum of the losses of a batch, in float64."""
        return class_losses(logits, targets).double().sum()


def normalised(problem: Problem, split: Split, places: np.ndarray, dtype: torch.dtype = torch.float32) -> Batch:
    """Images [B, C, H, W], mean 0 and deviation 1 on the training split (taken in float32 at least), and labels [B]."""
    arrays, device = problem.arrays, problem.device
    pixels = placed(arrays[f"{split}_images"][places], device)
    labels = placed(arrays[f"{split}_labels"][places].astype(np.int64), device)
    precise = torch.promote_types(dtype, torch.float32)
    mean, std = (placed(torch.tensor(arrays[name], dtype=precise), device)[:, None, None] for name in ("mean", "std"))
    return Batch(((pixels - mean) / std).to(dtype), labels)
