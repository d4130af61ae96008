"""Layers and idioms whose price matters: each alone, at a size at which its arithmetic counts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

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
    "addmm": (lambda: Function(lambda x, w: torch.addmm(w[0], x, w), 1024, 1024), (1024,), 1.5),
    "einsum": (lambda: Function(lambda x, w: torch.einsum("btd,dhe->bthe", x, w), 256, 4, 64), (128, 256), 1.5),
    "embedding bag": (lambda: nn.EmbeddingBag(1000, 256), (32,), 1.5),
    "transposed convolution": (lambda: nn.ConvTranspose2d(64, 64, 3), (64, 16, 16), 1.5),
    "LSTM": (lambda: nn.LSTM(128, 128, batch_first=True), (128, 128), 2.0),
    "GRU": (lambda: nn.GRU(128, 128, batch_first=True), (128, 128), 2.0),
    "GRU cell": (lambda: Steps(nn.GRUCell(128, 128)), (128, 128), 2.0),
    "orthogonal weight": (lambda: parametrizations.orthogonal(nn.Linear(128, 128)), (128, 128), 2.0),
    "standardised convolution": (lambda: Standardised(64, 64, 3), (64, 16, 16), 2.0),
    "table by index": (lambda: Function(lambda x, w: w[x], 1000, 256), (32,), 1.5),
    "position bias": (lambda: Biased(256, 4, 128), (128, 256), 1.5),
}


def make(name: str, size: int) -> Case:
    """The layer, its losses and a batch of `size` examples."""
    torch.manual_seed(0)
    build, shape, _ = LAYERS[name]
    reads = name in ("embedding bag", "table by index")
    batch = torch.randint(0, 1000, (size, *shape)) if reads else torch.randn(size, *shape)
    return build(), losses, batch


def losses(model: nn.Module, x: Tensor) -> Tensor:
    """Half the squares of what comes out."""
    y = model(x)
    y = y[0] if isinstance(y, tuple) else y
    return 0.5 * y.flatten(1).square().sum(1)
