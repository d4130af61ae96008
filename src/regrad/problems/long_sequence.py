"""Classify images that a plain recurrent network reads pixel by pixel: a long sequence, where clipping matters."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from regrad.problems.data.image_sets import CLASSES
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.problems.models.rnn import PixelRNN
from regrad.problems.options import Count


class LongSequenceOptions(ImageOptions):
    """Options of an image problem read as a sequence; those of a residual network do nothing here."""

    hidden: Count = 32
    gain: Annotated[float, Field(gt=0)] = 1.0  # scale of the orthogonal recurrent matrix at the start


@dataclass
class LongSequenceProblem(ImageProblem):
    """Say which class an image belongs to, from its pixels one after the other."""

    Options = LongSequenceOptions

    options: LongSequenceOptions

    def network(self, generator: torch.Generator) -> nn.Module:
        options = self.options
        classes = CLASSES[options.images]
        return PixelRNN(self.channels, options.hidden, classes, gain=options.gain, generator=generator)
