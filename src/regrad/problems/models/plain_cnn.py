"""A convolutional network without normalisation and shortcuts: gradients may vanish or explode in it."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import relu
from torch.nn.utils import skip_init


@dataclass(frozen=True)
class PlainCNNConfig:
    """Shape of a plain network.

    Attributes:
        depth: Convolutions, at least 2; each of the first two halves height and width.
        width: Channels of every convolution.
        channels: Channels of the images.
        classes: Number of classes.
    """

    depth: int = 6
    width: int = 16
    channels: int = 1
    classes: int = 10

    def __post_init__(self):
        for field, least in (("depth", 2), ("width", 1), ("channels", 1), ("classes", 1)):
            if getattr(self, field) < least:
                raise ValueError(f"{field}={getattr(self, field)!r} must be >= {least}")


class PlainCNN(nn.Module):
    """Images [B, C, H, W] -> logits [B, classes].

    Args:
        config: Shape.
        generator: CPU generator of the initial weights; None uses torch's default generator.

    Source: ours; weights as in He et al. 2015.
    """

    def __init__(self, config: PlainCNNConfig, *, generator: torch.Generator | None = None):
        super().__init__()
        inputs = [config.channels] + [config.width] * (config.depth - 1)
        layers: list[nn.Conv2d] = [
            skip_init(nn.Conv2d, channels, config.width, 3, stride=2 if k < 2 else 1, padding=1)
            for k, channels in enumerate(inputs)
        ]
        self.convolutions = nn.ModuleList(layers)
        self.head = skip_init(nn.Linear, config.width, config.classes)
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        bound = config.width**-0.5
        nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        for layer in self.convolutions:
            images = relu(layer(images))
        return self.head(images.mean(dim=(2, 3)))
