"""Classify images that a plain recurrent network reads pixel by pixel: a long sequence, where clipping matters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from regrad.problems.batch import DTYPES
from regrad.problems.data.image_sets import CLASSES, load_images
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.models.rnn import PixelRNN
from regrad.problems.options import Count
from regrad.problems.randomness import torch_generator


class LongSequenceOptions(ImageOptions):
    """Options of an image problem read as a sequence; those of a residual network do nothing here.

    Attributes:
        hidden: Width of the recurrent state.
        gain: Scale of the orthogonal recurrent matrix at the start.
    """

    hidden: Count = 32
    gain: Annotated[float, Field(gt=0)] = 1.0


@dataclass
class LongSequenceProblem(ImageProblem):
    """Say which class an image belongs to, from its pixels one after the other."""

    options: LongSequenceOptions

    def init_model(self) -> nn.Module:  # type: ignore[override]
        """A new model, the same for every call and device."""
        options = self.options
        channels, classes = self.arrays["train_images"].shape[1], CLASSES[options.images]
        generator = torch_generator(self.seed, "init")
        model = PixelRNN(channels, options.hidden, classes, gain=options.gain, generator=generator)
        return model.to(self.device, DTYPES[options.dtype])


def build(
    options: LongSequenceOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> LongSequenceProblem:
    """A long-sequence problem with its images read from the cache (fetched and parsed on first use).

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
    return LongSequenceProblem(options, arrays, seed, torch.device(device))
