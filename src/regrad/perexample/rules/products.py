"""Acts on: per-example gradients. Products of examples and one weight, whatever their spelling, as a linear layer's."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regrad.perexample.rules.linear import linear

if TYPE_CHECKING:
    from regrad.perexample.calls import Call


def addmm_rule(call: "Call") -> Any:
    """torch.addmm of a bias [o], examples [B, i] and a weight [i, o] (Hugging Face's Conv1D)."""
    bias, x, weight = call.bind("input", "mat1", "mat2")
    surgery = call.surgery
    plain = not {"beta", "alpha"} & set(call.kwargs) and len(call.args) <= 3
    if not plain or bias.ndim != 1 or surgery.is_tracked(x) or not all(map(surgery.is_shared, (bias, weight))):
        return NotImplemented
    with surgery:
        transposed = weight.t()
    return linear(surgery, x, weight=transposed, bias=bias)


def bilinear_rule(call: "Call") -> Any:
    """functional.bilinear: a linear layer of the products of both inputs' entries."""
    one, other, weight, bias = call.bind("input1", "input2", "weight", "bias")
    surgery = call.surgery
    if surgery.is_tracked(one) or surgery.is_tracked(other) or not all(map(surgery.is_shared, (weight, bias))):
        return NotImplemented
    with surgery:
        flat = weight.flatten(1)
    if call.fold > 1:
        return NotImplemented
    return linear(surgery, (one.unsqueeze(-1) * other.unsqueeze(-2)).flatten(-2), weight=flat, bias=bias)


def einsum_rule(call: "Call") -> Any:
    """torch.einsum of examples [B, …] and one weight, each of whose axes is summed over or new."""
    equation, x, weight = call.args if len(call.args) == 3 else (None, None, None)
    surgery = call.surgery
    if not isinstance(equation, str) or "." in equation or "->" not in equation or call.fold > 1:
        return NotImplemented
    inputs, out = equation.replace(" ", "").split("->")
    left, right = inputs.split(",")
    if surgery.is_tracked(x):
        x, weight, left, right = weight, x, right, left
    summed, new = [a for a in right if a in left], [a for a in right if a not in left]
    kept = [a for a in left if a not in right]
    distinct = len(set(left)) == len(left) and len(set(right)) == len(right) and sorted(out) == sorted(kept + new)
    if surgery.is_tracked(x) or not surgery.is_tracked(weight) or not distinct or not summed or not new:
        return NotImplemented
    if kept[:1] != [left[0]] or out[0] != left[0]:
        return NotImplemented
    return _as_linear(call, (x, left, kept), (weight, right, new), summed).permute([(kept + new).index(a) for a in out])


def _as_linear(call: "Call", examples: Any, weights: Any, summed: list[str]) -> Tensor:
    x, left, kept = examples
    weight, right, new = weights
    x = x.permute([left.index(a) for a in kept + summed]).flatten(len(kept))
    sizes = [weight.shape[right.index(a)] for a in new]
    with call.surgery:
        # Followed as any view of the weight is.
        weight = weight.permute([right.index(a) for a in new + summed])
        weight = weight.reshape(torch.Size(sizes).numel(), -1)
    y = linear(call.surgery, x, weight=weight, bias=None)
    return y.unflatten(-1, sizes)
