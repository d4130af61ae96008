"""Workloads of the per-example benchmark: small models that every peer can run, and their unreduced losses."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Causal attention; `fused` uses torch's kernel, which vmap on a CPU can only loop over."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.fused = heads, fused

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        B, T, d = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            scores = q @ k.transpose(-2, -1) / (d // self.heads) ** 0.5
            y = torch.softmax(scores.masked_fill(mask, float("-inf")), -1) @ v
        return self.out(y.transpose(1, 2).reshape(B, T, d))


class DecoderBlock(nn.Module):
    """Pre-norm, four times wide inside."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, fused)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = x + self.attention(self.first(x))
        return x + self.down(functional.gelu(self.up(self.second(x))))


class Decoder(nn.Module):
    """GPT-like, head untied; positions are read by an index with the batch axis, as the hook libraries need."""

    def __init__(self, shape: dict[str, int], fused: bool):
        super().__init__()
        width = shape["d"]
        self.tokens, self.places = nn.Embedding(shape["V"], width), nn.Embedding(shape["T"], width)
        self.blocks = nn.Sequential(*(DecoderBlock(width, shape["heads"], fused) for _ in range(shape["layers"])))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, shape["V"], bias=False)

    def forward(self, tokens: Tensor) -> Tensor:  # noqa: D102
        places = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))


class Residual(nn.Module):
    """Two convolutions and a shortcut that pads channels, as in the CIFAR networks of He et al. (2015)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.stride = outputs // inputs
        self.first = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.one, self.two = nn.GroupNorm(8, outputs), nn.GroupNorm(8, outputs)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.two(self.second(functional.relu(self.one(self.first(x)))))
        extra = y.shape[1] - x.shape[1]
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, extra // 2, extra - extra // 2))
        return functional.relu(y + short)


def resnet20() -> nn.Module:
    """ResNet-20 with GroupNorm(8)."""
    widths = [16] * 4 + [32] * 3 + [64] * 3
    body = [Residual(a, b) for a, b in itertools.pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.GroupNorm(8, 16), nn.ReLU()]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@dataclass(frozen=True)
class Workload:
    """A model, a batch of inputs and targets, and losses [B] of an output.

    Attributes:
        make: builds the model; its argument says whether attention is fused.
        batch: (inputs, targets), example axis first.
        losses: (output, targets) -> [B].
        chunk: micro-batch of a micro-batched workload, or None.
    """

    make: Callable[[bool], nn.Module]
    batch: tuple[Tensor, Tensor]
    losses: Callable[[Tensor, Tensor], Tensor]
    chunk: int | None = None


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the tokens of each sequence."""
    flat = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return flat.view(targets.shape).mean(1)


def class_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each example."""
    return functional.cross_entropy(logits, targets, reduction="none")


def decoder(B: int, device: str, *, chunk: int | None = None, **shape: int) -> Workload:
    """A decoder workload; shape: T, V, d, layers, heads."""
    shape = {"T": 128, "V": 256, "d": 256, "layers": 4, "heads": 4} | shape
    tokens = torch.randint(0, shape["V"], (B, shape["T"] + 1), device=device)
    batch = (tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    return Workload(lambda fused: Decoder(shape, fused).to(device), batch, token_losses, chunk)


def mlp() -> nn.Module:
    """784-1024-1024-10."""
    return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


def workloads(device: str) -> dict[str, Callable[[], Workload]]:
    """Builders by name; those of a GPU have at least 100 million parameters and 65 536 tokens."""

    def labelled(make: Callable[[], nn.Module], *shape: int) -> Callable[[], Workload]:
        def build() -> Workload:
            data = (torch.randn(64, *shape, device=device), torch.randint(0, 10, (64,), device=device))
            return Workload(lambda _: make().to(device), data, class_losses)

        return build

    if device == "cuda":
        big: dict[str, Any] = {"d": 1024, "layers": 12, "heads": 16, "V": 8192}
        return {
            "decoder 160M B64 T1024": lambda: decoder(64, device, T=1024, **big),
            "decoder 160M B512 T128": lambda: decoder(512, device, T=128, **big),
        }
    return {
        "decoder B16 V256": lambda: decoder(16, device),
        "decoder B64 V256": lambda: decoder(64, device),
        "decoder B16 V4096": lambda: decoder(16, device, V=4096),
        "decoder B64 V4096": lambda: decoder(64, device, V=4096),
        "decoder B64 T32": lambda: decoder(64, device, T=32),
        "decoder B4 T512": lambda: decoder(4, device, T=512),
        "ResNet-20 GroupNorm B64": labelled(resnet20, 3, 32, 32),
        "MLP B64": labelled(mlp, 784),
        "decoder B16 d128": lambda: decoder(16, device, d=128),
        "decoder B16 d512": lambda: decoder(16, device, d=512),
        "decoder B64 in chunks of 16": lambda: decoder(64, device, chunk=16),
    }
