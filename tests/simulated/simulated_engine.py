"""The engine's statistics of every layer that has a rule, on the CPU and on the simulated device; prints JSON."""

import json
import os
import sys
from typing import Any

import torch
from perexample_models import Decoder, next_token_losses, small_resnet
from simulated_device import waits
from torch import nn

from regrad.perexample.engine import gradient_statistics
from regrad.perexample.requests import clipped_mean
from regrad.perexample.rules import table

STATISTICS = ["mean", "mean_square", "variance", "mean_abs", "norm", clipped_mean(0.5)]


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.shift = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(4))

    def forward(self, x: Any) -> Any:
        return (x @ self.weight + self.shift).tanh()


class Expanded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 6))

    def forward(self, x: Any) -> Any:
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1).tanh()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.inner(x, x, x, need_weights=False)[0]


class Called(nn.Module):
    """A layer, or a function of a weight, called in its own way."""

    def __init__(self, inner: Any, call: Any) -> None:
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, x: Any) -> Any:
        return self.call(self.inner, x)


class Table(nn.Module):
    """A function of one parameter and the batch."""

    def __init__(self, table: nn.Parameter, call: Any) -> None:
        super().__init__()
        self.table, self.call = table, call

    def forward(self, x: Any) -> Any:
        return self.call(self.table, x)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def rows_read(table: nn.Parameter, x: Any) -> Any:
    """The rows of a table that the numbers [B, T] name."""
    return table[(x.abs() * 9).long().clamp(max=10)]


def biased(bias: nn.Parameter, x: Any) -> Any:
    """Attention of positions to each other, with a bias for each pair of them."""
    return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=bias)


def weights() -> nn.ParameterList:
    return nn.ParameterList([weight(6, 4), weight(4)])


def last(cell: nn.Module, x: Any) -> Any:
    """The state [B, H] of a cell after all positions [B, T, F]."""
    state = None
    for position in x.unbind(1):
        state = cell(position, state)
    return state[0] if isinstance(state, tuple) else state


def sums(model: nn.Module, batch: Any) -> Any:
    return model(batch).flatten(1).square().sum(1)


LAYERS: dict[str, Any] = {
    "linear": (lambda: nn.Linear(6, 3), (5, 6)),
    "linear over positions": (lambda: nn.Linear(6, 3), (5, 4, 6)),
    "product": (Product, (5, 6)),
    "expanded": (Expanded, (5, 4, 6)),
    "convolution 1d": (lambda: nn.Conv1d(6, 3, 3), (5, 6, 7)),
    "convolution 2d": (lambda: nn.Conv2d(2, 4, 3, padding=1, groups=2), (5, 2, 6, 6)),
    "convolution 3d": (lambda: nn.Conv3d(2, 3, 2), (5, 2, 4, 4, 4)),
    "attention": (Attention, (5, 4, 6)),
    "layer norm": (lambda: nn.LayerNorm(6), (5, 4, 6)),
    "rms norm": (lambda: nn.RMSNorm(6), (5, 4, 6)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (5, 4, 6)),
    "instance norm": (lambda: nn.InstanceNorm1d(4, affine=True), (5, 4, 6)),
    "batch norm": (lambda: nn.BatchNorm1d(4).eval(), (5, 4, 6)),
    "bilinear": (lambda: Called(nn.Bilinear(6, 6, 3), lambda layer, x: layer(x, x)), (5, 6)),
    "addmm": (lambda: Called(weights(), lambda w, x: torch.addmm(w[1], x, w[0])), (5, 6)),
    "einsum": (lambda: Called(weights(), lambda w, x: torch.einsum("btf,fo->bto", x, w[0])), (5, 4, 6)),
    "prelu": (lambda: nn.PReLU(4), (5, 4, 6)),
    "transposed convolution": (lambda: nn.ConvTranspose1d(6, 3, 3, stride=2), (5, 6, 7)),
    "bag": (lambda: Called(nn.EmbeddingBag(11, 6), lambda bag, x: bag((x.abs() * 9).long().clamp(max=10))), (5, 4)),
    "rows by index": (lambda: Table(weight(11, 6), rows_read), (5, 4)),
    "position bias": (lambda: Table(weight(1, 4, 4), biased), (5, 2, 4, 6)),
    "lstm cell": (lambda: Called(nn.LSTMCell(6, 3), last), (5, 4, 6)),
    "gru cell": (lambda: Called(nn.GRUCell(6, 3), last), (5, 4, 6)),
    "tanh cell": (lambda: Called(nn.RNNCell(6, 3), last), (5, 4, 6)),
    "relu cell": (lambda: Called(nn.RNNCell(6, 3, nonlinearity="relu"), last), (5, 4, 6)),
    "no rule": (lambda: Called(weights(), lambda w, x: (x[:, None] * w[0].mean(1)).cumsum(2)), (5, 6)),
    "residual network": (small_resnet, (5, 3, 8, 8)),
    "decoder": (Decoder, None),
}


def row(name: str) -> dict[str, Any]:
    """How far the two devices are apart, relative to each tensor's largest entry, and how often the host waited."""
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    model = make()
    batch = torch.randn(shape) if shape else torch.randint(0, 11, (5, 8))
    losses = sums if shape else next_token_losses
    made: dict[str, Any] = {"arm": name}
    try:
        ours = gradient_statistics(model, losses, batch, STATISTICS)
        model, batch = model.to("sim"), batch.to("sim")
        gradient_statistics(model, losses, batch, STATISTICS)  # what is found out once is found out
        before = len(waits)
        theirs = gradient_statistics(model, losses, batch, STATISTICS)
        made |= {"waits": len(waits) - before, "of": sorted(set(waits[before:]))}
        made["differs"] = max(apart(ours[key], theirs[key]) for key in ours)
    except Exception as error:  # noqa: BLE001 - the row says what torch said
        made["refused"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return made


def apart(ours: Any, theirs: Any) -> float:
    pairs = [(ours, theirs)] if isinstance(ours, torch.Tensor) else [(ours[k], theirs[k]) for k in ours]
    return max(float((a - b.cpu()).abs().max() / a.abs().max().clamp(min=1e-6)) for a, b in pairs)


def main() -> None:
    """Print the rows, and the rules that no layer asked for."""
    unused = set(table._FUNCTIONS)

    def noted(rule: Any) -> Any:
        return lambda call: (unused.discard(rule), rule(call))[1]

    for function, rule in list(table.RULES.items()):
        table.RULES[function] = noted(rule)
    rows = [row(name) for name in LAYERS]
    sys.stdout.write(json.dumps({"rows": rows, "unused": sorted(rule.__name__ for rule in unused)}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
