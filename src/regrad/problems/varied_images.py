"""Image classification with what robustness is tested by: another network, less data, injected loss spikes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn

from regrad.problems.batch import DTYPES, Batch
from regrad.problems.data.image_sets import CLASSES, load_images
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.models.plain_cnn import PlainCNN, PlainCNNConfig
from regrad.problems.randomness import torch_generator

Steps = tuple[Annotated[int, Field(strict=True, ge=0)], ...]


class VariedImageOptions(ImageOptions):
    """Options of an image problem, and what is varied.

    Attributes:
        network_kind: "resnet", or "plain" for convolutions without normalisation and shortcuts.
        data_percent: Share of the training images that is used, in percent; the first of the set.
        spike_steps: Steps at which a bad batch is injected: wrong labels, and the loss multiplied.
        spike_factor: What the loss of a bad batch is multiplied by.
    """

    network_kind: Literal["resnet", "plain"] = "resnet"
    data_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 100
    spike_steps: Steps = ()
    spike_factor: Annotated[float, Field(gt=0)] = 100.0

    def plain_network(self, channels: int) -> PlainCNNConfig:
        """Shape of the plain network for images with so many channels."""
        return PlainCNNConfig(self.depth, self.width, channels, CLASSES[self.images])


class WeightedBatch(NamedTuple):
    """A batch whose loss is multiplied by ``weight``.

    Attributes:
        inputs: [B, C, H, W] images.
        targets: [B] class ids.
        weight: Factor on every example's loss.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weight: float


@dataclass
class VariedImageProblem(ImageProblem):
    """An image problem whose network, amount of data and batches are varied."""

    options: VariedImageOptions

    @property
    def examples(self) -> int:
        """Number of training images in one epoch."""
        return max(1, super().examples * self.options.data_percent // 100)

    def init_model(self) -> nn.Module:  # type: ignore[override]
        """A new model, the same for every call and device."""
        if self.options.network_kind == "resnet":
            return super().init_model()
        config = self.options.plain_network(self.arrays["train_images"].shape[1])
        model = PlainCNN(config, generator=torch_generator(self.seed, "init"))
        return model.to(self.device, DTYPES[self.options.dtype])

    def batch(self, step: int, batch_size: int) -> WeightedBatch:  # type: ignore[override]
        """Training batch number ``step``; at a spike every label is the next class and the weight large."""
        inputs, targets = super().batch(step, batch_size)
        if step not in self.options.spike_steps:
            return WeightedBatch(inputs, targets, 1.0)
        return WeightedBatch(inputs, (targets + 1) % CLASSES[self.options.images], self.options.spike_factor)

    def losses(  # type: ignore[override]
        self, model: Callable[[torch.Tensor], torch.Tensor], batch: WeightedBatch
    ) -> torch.Tensor:
        """Weighted negative log-likelihood of each image's class in nats, [B], not divided by B."""
        return super().losses(model, Batch(batch.inputs, batch.targets)) * batch.weight


def build(
    options: VariedImageOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> VariedImageProblem:
    """A varied image problem with its images read from the cache (fetched and parsed on first use).

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
    return VariedImageProblem(options, arrays, seed, torch.device(device))
