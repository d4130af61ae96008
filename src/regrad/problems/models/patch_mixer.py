"""A network of one's own: patches of the image, and layers that mix them. It stands for a user's architecture."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.nn.utils import skip_init

PATCH = 4


class MixingLayer(nn.Module):
    """Mixes patches, then channels, each beside a shortcut."""

    def __init__(self, patches: int, width: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        # skip_init leaves the global random state alone; PatchMixer fills the weights.
        self.across = skip_init(nn.Linear, patches, patches)
        self.within = skip_init(nn.Linear, width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, patches, width] -> the same shape."""
        x = x + gelu(self.across(self.norms[0](x).mT)).mT
        return x + gelu(self.within(self.norms[1](x)))


class PatchMixer(nn.Module):
    """Images [B, C, H, H] -> logits [B, classes]: 4×4 patches, two mixing layers, their mean, a linear head.

    Args:
        channels: C.
        size: H; what is left over when it is divided by 4 is not looked at.
        classes: Number of classes.
        width: Channels of a patch.
        generator: CPU generator of the initial weights; None uses torch's default generator.

    Source: after Tolstikhin et al. 2021 (arXiv 2105.01601).
    Departures: one linear layer where theirs have two.
    """

    def __init__(
        self, channels: int, size: int, classes: int, *, width: int = 16, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.embedding = skip_init(nn.Conv2d, channels, width, PATCH, stride=PATCH)
        self.layers = nn.Sequential(*(MixingLayer((size // PATCH) ** 2, width) for _ in range(2)))
        self.head = skip_init(nn.Linear, width, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                bound = (module.weight[0].numel()) ** -0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        return self.head(self.layers(self.embedding(images).flatten(2).mT).mean(dim=1))
