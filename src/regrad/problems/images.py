"""Image classification with a residual network."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import nn
from torch.nn.functional import cross_entropy, pad

from regrad.problems.batch import DTYPES, Batch, Dtype, check_position, evaluating
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.image_sets import CLASSES, ImageSet, load_images
from regrad.problems.data.splits import Split
from regrad.problems.models.resnet import ResNet, ResNetConfig
from regrad.problems.options import Count, OptionError, Options, Switch
from regrad.problems.randomness import EpochOrder, permutation, random_bits, torch_generator

MARGIN = 4


class ImageOptions(Options):
    """Options of an image problem.

    Attributes:
        images: Name of the image set.
        depth: Layers of the network, 6n + 2.
        width: Channels of its first stage.
        norm: "batch" or "group".
        groups: Groups of GroupNorm; divides `width`.
        augment: Whether training images are shifted by up to 4 pixels and mirrored at random.
        evaluation_examples: Images of a split that `evaluate` uses, at most; the seed says which.
        evaluation_batch: Images per forward pass in `evaluate`; changes memory, and results by rounding.
        dtype: Type of weights and images.
    """

    images: ImageSet = "fashion-mnist"
    depth: Count = 20
    width: Count = 16
    norm: Literal["batch", "group"] = "batch"
    groups: Count = 8
    augment: Switch = False
    evaluation_examples: Count = 2000
    evaluation_batch: Count = 250
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _network_exists(self) -> Self:
        self.network(channels=1)
        return self

    def network(self, channels: int) -> ResNetConfig:
        """Shape of the network for images with so many channels."""
        return ResNetConfig(self.depth, self.width, channels, CLASSES[self.images], self.norm, self.groups)


@dataclass
class ImageProblem:
    """Say which class an image belongs to.

    Attributes:
        options: What was asked for.
        arrays: Images, labels and channel statistics, as `split_images` returns them.
        seed: Of initialisation, data order, augmentation and evaluation subset, which use separate streams.
        device: Where models and batches live.
    """

    options: ImageOptions
    arrays: Arrays
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self):
        if not all(len(self.arrays[f"{split}_labels"]) for split in ("train", "validation", "test")):
            raise OptionError(f"images={self.options.images!r}: a split has no images")

    @property
    def name(self) -> str:
        """Short name for records and figures."""
        options = self.options
        return f"{options.images}-resnet{options.depth}-{options.width}-{options.norm}"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the sources whose bytes determine the results."""
        return (self.options.images,)

    @property
    def examples(self) -> int:
        """Number of training images in one epoch."""
        return len(self.arrays["train_labels"])

    def init_model(self) -> ResNet:
        """A new model, the same for every call and device."""
        config = self.options.network(channels=self.arrays["train_images"].shape[1])
        model = ResNet(config, generator=torch_generator(self.seed, "init"))
        return model.to(self.device, DTYPES[self.options.dtype])

    @cached_property
    def order(self) -> EpochOrder:
        """The order of the training images."""
        return EpochOrder(self.examples, self.seed)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Training batch number `step`, computed without the earlier ones.

        The examples are number step·B … step·B + B − 1 of an endless series: epoch after epoch, each a fresh
        random order of the training images.

        Args:
            step: >= 0.
            batch_size: B >= 1.

        Returns:
            Normalised images [B, C, H, W] and labels [B].
        """
        check_position(step, batch_size)
        batch = self._examples("train", self.order.batch(step, batch_size))
        if not self.options.augment:
            return batch
        numbers = range(step * batch_size, (step + 1) * batch_size)
        return Batch(self._augmented(batch.inputs, numbers), batch.targets)

    def _examples(self, split: Split, where: np.ndarray) -> Batch:
        pixels = torch.from_numpy(self.arrays[f"{split}_images"][where]).to(self.device)
        labels = torch.from_numpy(self.arrays[f"{split}_labels"][where].astype(np.int64)).to(self.device)
        dtype = DTYPES[self.options.dtype]
        precise = torch.promote_types(dtype, torch.float32)
        mean, std = (
            torch.tensor(self.arrays[name], dtype=precise, device=self.device)[:, None, None]
            for name in ("mean", "std")
        )
        return Batch(((pixels - mean) / std).to(dtype), labels)

    def _augmented(self, images: torch.Tensor, numbers: range) -> torch.Tensor:
        """Pad by 4 zeros, crop to the old size at a random place, mirror one in two; by example number."""
        bits = np.array([random_bits(1, self.seed, "augmentation", k)[0] for k in numbers])
        places = 2 * MARGIN + 1
        down, right, mirrored = (
            torch.from_numpy(part.astype(np.int64)).to(images.device)[:, None]
            for part in (bits % places, bits // places % places, bits >> np.uint64(63))
        )
        height, width = images.shape[2:]
        rows = torch.arange(height, device=images.device) + down
        columns = torch.arange(width, device=images.device).expand(len(images), -1)
        columns = torch.where(mirrored.bool(), width - 1 - columns, columns) + right
        padded = pad(images, (MARGIN,) * 4).movedim(1, -1)
        which = torch.arange(len(images), device=images.device)[:, None, None]
        return padded[which, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)

    def losses(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each image's class in nats, [B], not divided by B."""
        return _losses(model(batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean loss in nats and share of images classified correctly, over the evaluation subset of a split.

        Returns:
            "loss" and "accuracy" (0 … 1).
        """
        count = len(self.arrays[f"{split}_labels"])
        chosen = np.sort(permutation(count, self.seed, "evaluation")[: self.options.evaluation_examples])
        loss, correct = torch.zeros((), dtype=torch.float64, device=self.device), 0
        with evaluating(model):
            for part in np.array_split(chosen, math.ceil(len(chosen) / self.options.evaluation_batch)):
                batch = self._examples(split, part)
                logits = model(batch.inputs)
                loss = loss + _losses(logits, batch.targets).double().sum()
                correct = correct + (logits.argmax(dim=1) == batch.targets).sum()
        return {"loss": float(loss) / len(chosen), "accuracy": float(correct) / len(chosen)}


def _losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if logits.dtype == torch.bfloat16:
        logits = logits.float()
    return cross_entropy(logits, targets, reduction="none")


def build(
    options: ImageOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> ImageProblem:
    """An image problem with its images read from the cache (fetched and parsed on first use).

    Args:
        options: What to build.
        cache: Cache folder for data.
        seed: Of everything random in the problem, >= 0.
        device: Where models and batches live.
        offline: Never use the network.

    Raises:
        DataError: The images are missing or damaged.
    """
    arrays = load_images(options.images, cache, offline=offline)
    return ImageProblem(options, arrays, seed, torch.device(device))
