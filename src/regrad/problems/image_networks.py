"""Image classification with a choice of networks, less data, spikes of the loss, or other images learnt before."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import AliasChoices, Field, model_validator
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.optim import Adam

from regrad.problems.batch import Batch, Examples
from regrad.problems.data.image_sets import CLASSES, ImageSet
from regrad.problems.data.splits import Split
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.models.patch_mixer import PatchMixer
from regrad.problems.models.plain_cnn import PlainCNN, PlainCNNConfig
from regrad.problems.models.resnet import ResNet
from regrad.problems.models.spiking import SpikingResNet
from regrad.problems.options import Count, Switch
from regrad.problems.randomness import torch_generator

PRETRAINING_LR = 5e-3
Architecture = Literal["resnet", "plain", "spiking", "mixer"]
Steps = tuple[Annotated[int, Field(strict=True, ge=0)], ...]


class NetworkOptions(ImageOptions):
    """Options of an image problem with a choice of networks and data."""

    # "resnet"; "plain", convolutions without normalisation and shortcuts; "spiking", a ResNet with neurons; or "mixer",
    # patches and mixing layers. Some specs call it ``network_kind``.
    architecture: Architecture = Field("resnet", validation_alias=AliasChoices("architecture", "network_kind"))
    reset: Literal["soft", "hard"] = "soft"
    time_steps: Count = 4  # T of a spiking network
    halved: Switch = False  # whether images are averaged over 2×2 pixels first
    # share of the training images that an epoch has, in percent; the first of the set
    data_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 100
    spike_steps: Steps = ()  # steps at which a bad batch is injected: wrong labels, and the loss multiplied
    spike_factor: Annotated[float, Field(gt=0)] = 100.0  # what the loss of a bad batch is multiplied by
    # images that the network learns first, with Adam; the head is then drawn anew. None: no.
    pretraining: ImageSet | None = None
    pretraining_steps: Count = 50
    pretraining_batch: Count = 32

    @model_validator(mode="after")
    def _network_can_be_pretrained(self) -> Self:
        if self.pretraining and (self.architecture != "resnet" or CLASSES[self.pretraining] != CLASSES[self.images]):
            raise ValueError("pretraining: for architecture 'resnet' and sets with equally many classes")
        return self

    @model_validator(mode="after")
    def _network_has_the_format(self) -> Self:
        if self.memory_format != "contiguous" and self.architecture != "resnet":
            raise ValueError(f"memory_format={self.memory_format!r}: for architecture 'resnet'")
        return self

    def former(self) -> "NetworkOptions":
        usual = {"pretraining": None, "data_percent": 100, "spike_steps": ()}
        return self.model_copy(update={"images": self.pretraining, **usual})


class SpikedBatch(NamedTuple):
    """A bad batch."""

    inputs: torch.Tensor  # [B, C, H, W] images
    targets: torch.Tensor  # [B] class ids
    weight: float


@dataclass
class NetworkProblem(ImageProblem):
    """Say which class an image belongs to, with the network that the options name."""

    Options = NetworkOptions
    data_options = ("images", "pretraining")

    options: NetworkOptions
    former: "NetworkProblem | None" = None  # the problem that the network learns first, or None

    @classmethod
    def from_options(
        cls, options: NetworkOptions, *, cache: Path, seed: int = 0, device: str | torch.device = "cpu"
    ) -> Self:
        """As for every problem, with the former one if the network learns one first."""
        problem = super().from_options(options, cache=cache, seed=seed, device=device)
        if options.pretraining:
            problem.former = cls.from_options(options.former(), cache=cache, seed=seed, device=device)
        return problem

    @property
    def epoch_size(self) -> int:
        return max(1, super().epoch_size * self.options.data_percent // 100)

    def network(self, generator: torch.Generator) -> nn.Module:
        return NETWORKS[self.options.architecture](self, generator)

    def init_model(self) -> nn.Module:
        """A new model, the same for every call; where there is a former problem, trained on it."""
        model = super().init_model()
        if self.former is not None and isinstance(model, ResNet):
            pretrain(model, self.former, self.options)
            renew_head(model, torch_generator(self.seed, "head"))
        return model

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Normalised images [B, C, H, W], halved if asked for, and labels [B]."""
        batch = super().examples(split, places)
        return Batch(avg_pool2d(batch.inputs, 2), batch.targets) if self.options.halved else batch

    def batch(self, step: int, batch_size: int) -> Examples:
        """As of every problem; at a spike every label is the next class and the weight large."""
        batch = super().batch(step, batch_size)
        if step not in self.options.spike_steps:
            return batch
        return SpikedBatch(batch.inputs, (batch.targets + 1) % CLASSES[self.options.images], self.options.spike_factor)

    def losses(self, model: Callable[..., torch.Tensor], batch: Batch | SpikedBatch) -> torch.Tensor:
        """Negative log-likelihood of each image's class in nats, [B], times the weight of a bad batch."""
        losses = super().losses(model, Batch(batch.inputs, batch.targets))
        return losses * batch.weight if isinstance(batch, SpikedBatch) else losses


def residual(problem: NetworkProblem, generator: torch.Generator) -> ResNet:
    return ResNet(problem.options.network(problem.channels), generator=generator)


def plain(problem: NetworkProblem, generator: torch.Generator) -> PlainCNN:
    options = problem.options
    config = PlainCNNConfig(options.depth, options.width, problem.channels, CLASSES[options.images])
    return PlainCNN(config, generator=generator)


def spiking(problem: NetworkProblem, generator: torch.Generator) -> SpikingResNet:
    options = problem.options
    config = options.network(problem.channels)
    return SpikingResNet(config, reset=options.reset, steps=options.time_steps, generator=generator)


def mixer(problem: NetworkProblem, generator: torch.Generator) -> PatchMixer:
    """Patches and mixing layers, as large as the images are after halving."""
    options, size = problem.options, problem.arrays["train_images"].shape[2]
    side = size // 2 if options.halved else size
    return PatchMixer(problem.channels, side, CLASSES[options.images], width=options.width, generator=generator)


NETWORKS: dict[Architecture, Callable[[NetworkProblem, torch.Generator], nn.Module]] = {
    "resnet": residual,
    "plain": plain,
    "spiking": spiking,
    "mixer": mixer,
}


def pretrain(model: ResNet, former: ImageProblem, options: NetworkOptions) -> None:
    """Train ``model`` on the former problem with Adam at 5e-3, the same way whatever comes after."""
    adam = Adam(model.parameters(), lr=PRETRAINING_LR)
    for step in range(options.pretraining_steps):
        former.losses(model, former.batch(step, options.pretraining_batch)).mean().backward()
        adam.step()
        adam.zero_grad(set_to_none=True)


def renew_head(model: ResNet, generator: torch.Generator) -> None:
    bound = model.head.in_features**-0.5
    with torch.no_grad():  # drawn on the CPU: every device gets the same numbers
        drawn = torch.empty(model.head.weight.shape, dtype=model.head.weight.dtype)
        model.head.weight.copy_(nn.init.uniform_(drawn, -bound, bound, generator=generator))
    nn.init.zeros_(model.head.bias)
