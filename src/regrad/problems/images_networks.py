"""Image classification with another network than a ResNet, or with one that has learnt other images before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.optim import Adam

from regrad.problems.batch import DTYPES, Batch
from regrad.problems.data.image_sets import CLASSES, ImageSet, load_images
from regrad.problems.data.splits import Split
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.models.patch_mixer import PatchMixer
from regrad.problems.models.resnet import ResNet
from regrad.problems.models.spiking import SpikingResNet
from regrad.problems.options import Count, Switch
from regrad.problems.randomness import torch_generator

PRETRAINING_LR = 5e-3


class NetworkOptions(ImageOptions):
    """Options of an image problem with a choice of networks.

    Attributes:
        architecture: "resnet"; "spiking", the same with neurons; or "mixer", patches and mixing layers.
        reset: Membrane reset of a spiking network.
        time_steps: T of a spiking network.
        halved: Whether images are averaged over 2×2 pixels first.
        pretraining: Images that the network learns first, with Adam; the head is then drawn anew. None: no.
        pretraining_steps: How many steps that takes.
        pretraining_batch: Images in each.
    """

    architecture: Literal["resnet", "spiking", "mixer"] = "resnet"
    reset: Literal["soft", "hard"] = "soft"
    time_steps: Count = 4
    halved: Switch = False
    pretraining: ImageSet | None = None
    pretraining_steps: Count = 50
    pretraining_batch: Count = 32

    @model_validator(mode="after")
    def _network_can_be_pretrained(self) -> Self:
        if self.pretraining and (self.architecture != "resnet" or CLASSES[self.pretraining] != CLASSES[self.images]):
            raise ValueError("pretraining: for architecture 'resnet' and sets with equally many classes")
        return self


@dataclass
class NetworkProblem(ImageProblem):
    """Say which class an image belongs to, with the network that the options name.

    Attributes:
        former: The problem that the network learns first, or None.
    """

    options: NetworkOptions  # type: ignore[assignment]
    former: "NetworkProblem | None" = None

    @property
    def name(self) -> str:
        """Short name for records and figures."""
        return f"{self.options.images}-{self.options.architecture}{self.options.depth}-{self.options.width}"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the sources whose bytes determine the results."""
        return (self.options.images, *((self.options.pretraining,) if self.options.pretraining else ()))

    def init_model(self) -> nn.Module:  # type: ignore[override]
        """A new model, the same for every call; where there is a former problem, trained on it."""
        options, generator = self.options, torch_generator(self.seed, "init")
        channels, size = self.arrays["train_images"].shape[1], self.arrays["train_images"].shape[2]
        config = options.network(channels)
        model: nn.Module
        if options.architecture == "spiking":
            model = SpikingResNet(config, reset=options.reset, steps=options.time_steps, generator=generator)
        elif options.architecture == "mixer":
            seen = size // (1 + options.halved)
            model = PatchMixer(channels, seen, config.classes, width=options.width, generator=generator)
        else:
            model = ResNet(config, generator=generator)
        model = model.to(self.device, DTYPES[options.dtype])
        if self.former is not None and isinstance(model, ResNet):
            pretrain(model, self.former, options)
            renew_head(model, torch_generator(self.seed, "head"))
        return model

    def first(self, split: Split, count: int) -> torch.Tensor:
        """The first images of a split, at most so many, normalised [B, C, H, W]."""
        return self._examples(split, np.arange(min(count, len(self.arrays[f"{split}_labels"])))).inputs

    def _examples(self, split: Split, where: np.ndarray) -> Batch:
        batch = super()._examples(split, where)
        return Batch(avg_pool2d(batch.inputs, 2), batch.targets) if self.options.halved else batch


def pretrain(model: ResNet, former: ImageProblem, options: NetworkOptions) -> None:
    """Train ``model`` on the former problem with Adam at 5e-3, the same way whatever comes after."""
    adam = Adam(model.parameters(), lr=PRETRAINING_LR)
    for step in range(options.pretraining_steps):
        former.losses(model, former.batch(step, options.pretraining_batch)).mean().backward()
        adam.step()
        adam.zero_grad(set_to_none=True)


def renew_head(model: ResNet, generator: torch.Generator) -> None:
    """Draw the last layer anew, as at the initialisation."""
    bound = model.head.in_features**-0.5
    nn.init.uniform_(model.head.weight, -bound, bound, generator=generator)
    nn.init.zeros_(model.head.bias)


def build(
    options: NetworkOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> NetworkProblem:
    """A problem with its images read from the cache (fetched and parsed on first use).

    Raises:
        DataError: The images are missing or damaged.
    """
    arrays = load_images(options.images, cache, offline=offline)
    problem = NetworkProblem(options, arrays, seed, torch.device(device))
    if options.pretraining:
        former = NetworkOptions(**{**options.model_dump(), "images": options.pretraining, "pretraining": None})
        problem.former = build(former, cache=cache, seed=seed, device=device, offline=offline)
    return problem
