"""Residual networks for small images: 6n + 2 layers, three stages, identity shortcuts without parameters."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.functional import pad, relu
from torch.nn.utils import skip_init

from regrad.problems.models.batch_norm import NARROW, NarrowBatchNorm2d

MemoryFormat = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class ResNetConfig:
    """Shape of a residual network.

    Attributes:
        depth: 6n + 2: 8, 14, 20, 26, 32, ….
        width: Channels of the first stage; the next two have twice and four times as many.
        channels: Channels of the images.
        classes: Number of classes.
        norm: "batch" as published, or "group", which acts on each example alone.
        groups: Groups of GroupNorm; divides `width`.
        memory_format: "contiguous", each channel's pixels side by side, or "channels_last", each pixel's channels,
            in which convolutions of few channels are faster on a CPU. Weights and images are the same in both.
    """

    depth: int = 20
    width: int = 16
    channels: int = 3
    classes: int = 10
    norm: Literal["batch", "group"] = "batch"
    groups: int = 8
    memory_format: MemoryFormat = "contiguous"

    def __post_init__(self):
        for field in ("width", "channels", "classes", "groups"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}={getattr(self, field)!r} must be >= 1")
        if self.depth < 8 or self.depth % 6 != 2:
            raise ValueError(f"depth={self.depth!r} must be 6n + 2: 8, 14, 20, 26, 32, …")
        if self.norm not in ("batch", "group"):
            raise ValueError(f"norm={self.norm!r} must be 'batch' or 'group'")
        if self.norm == "group" and self.width % self.groups:
            raise ValueError(f"groups={self.groups!r} must divide width={self.width}")
        if self.memory_format not in get_args(MemoryFormat):
            raise ValueError(f"memory_format={self.memory_format!r} must be 'contiguous' or 'channels_last'")

    def normalisation(self, channels: int) -> nn.Module:
        """A new normalisation layer for so many channels."""
        if self.norm == "batch":
            narrow = self.memory_format == "channels_last" and channels < NARROW
            return NarrowBatchNorm2d(channels) if narrow else nn.BatchNorm2d(channels)
        return nn.GroupNorm(self.groups, channels)


def shortcut(x: torch.Tensor, channels: int) -> torch.Tensor:
    """Option A: `x`, or every second row and column of it with zero channels appended up to `channels`."""
    added = channels - x.shape[1]
    return x if added == 0 else pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, added))


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    # skip_init leaves the global random state alone; ResNet fills the weights from its own generator.
    return skip_init(nn.Conv2d, inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Two normalised 3×3 convolutions beside a shortcut; the first halves the size if channels grow."""

    def __init__(self, config: ResNetConfig, inputs: int, outputs: int):
        super().__init__()
        self.convolution1 = _convolution(inputs, outputs, 1 if inputs == outputs else 2)
        self.norm1 = config.normalisation(outputs)
        self.convolution2 = _convolution(outputs, outputs, 1)
        self.norm2 = config.normalisation(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, inputs, H, W] -> [B, outputs, H', W']."""
        y = relu(self.norm1(self.convolution1(x)), inplace=True)
        y = self.norm2(self.convolution2(y))
        return relu(y + shortcut(x, y.shape[1]), inplace=True)


class ResNet(nn.Module):
    """Images [B, C, H, W] -> logits [B, classes].

    Args:
        config: Shape.
        generator: CPU generator of the initial weights; None uses torch's default generator.

    Source: He et al. 2016, section 4.2, option A shortcuts; He et al. 2015 for the initial convolutions.
    Departures: GroupNorm as a choice; 1-channel images; the added zero channels follow the copied ones.
    """

    def __init__(self, config: ResNetConfig, *, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        width, blocks = config.width, (config.depth - 2) // 6
        self.stem = _convolution(config.channels, width, 1)
        self.norm = config.normalisation(width)
        sizes = [width] * blocks + [2 * width] * blocks + [4 * width] * blocks
        pairs = zip([width, *sizes], sizes, strict=False)
        self.blocks = nn.Sequential(*(Block(config, inputs, outputs) for inputs, outputs in pairs))
        self.head = skip_init(nn.Linear, 4 * width, config.classes)
        for weight in self.parameters():
            if weight.dim() == 4:
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
        bound = self.head.in_features**-0.5
        nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, classes] of images [B, C, H, W]; H and W at least 4."""
        if self.config.memory_format == "channels_last":
            # Of one channel both formats are one; a copy alone gives it the strides that convolutions go by.
            images = torch.empty_like(images, memory_format=torch.channels_last).copy_(images)
        x = relu(self.norm(self.stem(images)), inplace=True)
        return self.head(self.blocks(x).mean(dim=(2, 3)))
