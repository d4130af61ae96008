"""Layers and idioms whose price matters, each alone: OMP_NUM_THREADS=1 python benchmarks/coverage_layers.py [NAME …].

One line a layer: the CPU time of a step with mean and mean square beside an ordinary one, for 8 and for 32 examples,
and what it may cost. Nothing stands before the layer, so an ordinary step does not compute its input's gradient either.

A call costs about 0.45 ms of a core whatever the model, beside 0.1 ms of an ordinary step: layers that take less than a
millisecond by themselves cannot come near 1. So it is with small tables (1,000 rows of 256: an ordinary step takes 0.3
to 0.8 ms, its dense gradient is a megabyte; a mean alone costs as much as both statistics). The same with 20,000 rows
shows what the layer itself costs: one table more, 20 MB, written once.

An orthogonal weight goes back to its parameter once an example, by four products, where an ordinary step does so once.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from regrad.perexample import gradient_statistics

Case = tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor], Tensor]


class Function(nn.Module):
    """One parameter and what is done with it."""

    def __init__(self, run: Callable[[Tensor, Tensor], Tensor], *shape: int):
        super().__init__()
        self.run, self.weight = run, nn.Parameter(torch.randn(shape) / shape[0] ** 0.5)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.run(x, self.weight)


class Steps(nn.Module):
    """A cell, called once a step."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        state = x.new_zeros(len(x), x.shape[-1])
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised, as BiT's are."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        flat = self.weight.flatten(1)
        weight = functional.batch_norm(flat.unsqueeze(0), None, None, training=True).view_as(self.weight)
        return functional.conv2d(x, weight, self.bias, padding=1)


class Twice(nn.Module):
    """A layer of two inputs given one."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.inner(x, x.flip(-1))


class Biased(nn.Module):
    """Attention with a trainable position bias, as T5 hands it to the fused kernel."""

    def __init__(self, width: int, heads: int, length: int):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Embedding(32, heads)
        distance = torch.arange(length)[:, None] - torch.arange(length)
        self.register_buffer("places", distance.clamp(-16, 15) + 16)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        bias = self.bias(self.places).permute(2, 0, 1).unsqueeze(0)
        return self.out(functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))


# What is made, the shape of an example, and the most that a step may cost beside an ordinary one.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "linear": (lambda: nn.Linear(256, 256), (128, 256), 1.5),
    "bilinear": (lambda: Twice(nn.Bilinear(128, 128, 128)), (128,), 1.5),
    "mm": (lambda: Function(torch.mm, 1024, 1024), (1024,), 1.5),
    "addmm": (lambda: Function(lambda x, w: torch.addmm(x.new_zeros(1024), x, w), 1024, 1024), (1024,), 1.5),
    "einsum": (lambda: Function(lambda x, w: torch.einsum("btd,dhe->bthe", x, w), 256, 4, 64), (128, 256), 1.5),
    "embedding bag": (lambda: nn.EmbeddingBag(20_000, 256), (32,), 1.5),
    "small embedding bag": (lambda: nn.EmbeddingBag(1000, 256), (32,), 3.0),
    "transposed convolution": (lambda: nn.ConvTranspose2d(64, 64, 3), (64, 16, 16), 1.5),
    "LSTM": (lambda: nn.LSTM(128, 128, batch_first=True), (128, 128), 2.0),
    "GRU": (lambda: nn.GRU(128, 128, batch_first=True), (128, 128), 2.0),
    "GRU cell": (lambda: Steps(nn.GRUCell(128, 128)), (128, 128), 2.0),
    "orthogonal weight": (lambda: parametrizations.orthogonal(nn.Linear(128, 128)), (128, 128), 3.0),
    "standardised convolution": (lambda: Standardised(64, 64, 3), (64, 16, 16), 2.0),
    "table by index": (lambda: Function(lambda x, w: w[x], 20_000, 256), (32,), 1.5),
    "small table by index": (lambda: Function(lambda x, w: w[x], 1000, 256), (32,), 3.0),
    "position bias": (lambda: Biased(256, 4, 128), (128, 256), 1.5),
}


def make(name: str, size: int) -> Case:
    """The layer, its losses and a batch of `size` examples."""
    torch.manual_seed(0)
    build, shape, _ = LAYERS[name]
    reads = "bag" in name or "table" in name
    batch = torch.randint(0, 1000, (size, *shape)) if reads else torch.randn(size, *shape)
    return build(), losses, batch


def losses(model: nn.Module, x: Tensor) -> Tensor:
    """Half the squares of what comes out."""
    y = model(x)
    y = y[0] if isinstance(y, tuple) else y
    return 0.5 * y.flatten(1).square().sum(1)


def ratio(name: str, size: int) -> float:
    """The time of a step with statistics, in ordinary steps; medians of interleaved ones, at least a second of them."""
    model, losses, batch = make(name, size)
    step = partial(gradient_statistics, model, losses, batch, ["mean", "mean_square"])
    pairs: list[tuple[float, float]] = []
    while len(pairs) < 12 or (sum(map(sum, pairs)) < 1 and len(pairs) < 300):
        pairs.append((_seconds(step), _seconds(lambda: losses(model, batch).mean().backward())))
    ours, ordinary = (sorted(times)[len(times) // 2] for times in zip(*pairs[1:], strict=True))
    return ours / ordinary


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(LAYERS))
    for name in parser.parse_args().names:
        few, many = ratio(name, 8), ratio(name, 32)
        print(f"| {name} | {few:.2f} | {many:.2f} | {LAYERS[name][2]} |", flush=True)


if __name__ == "__main__":
    main()
