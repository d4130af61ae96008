"""Acts on: per-example gradients. y = x Wᵀ + b with any number of axes between examples and features."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.contributions import Dense, Factors
from regrad.perexample.deposits import deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.calls import Call
    from regrad.perexample.surgery import Surgery


class _Linear(torch.autograd.Function):
    """The ordinary forward and input gradient; the weight's gradient leaves as factors."""

    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias):
        y = functional.linear(x, weight, bias)
        # Under autocast this is the copy that the ordinary backward would keep.
        ctx.save_for_backward(x.to(y.dtype), weight)
        ctx.handles, ctx.dtype = handles, x.dtype
        # Of more than two axes y is a view of the product, and autograd forbids changing a view made here in place.
        return torch.ops.aten._unsafe_view.default(y, y.shape) if y.ndim > 2 else y

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x, weight = saved
        # On a transposed gradient matmul would take a batched path, slower than the one copy.
        g = g.contiguous()
        into = (g @ weight.to(g.dtype)).to(ctx.dtype) if ctx.needs_input_grad[2] else None
        deposit(ctx.handles[0], Factors.pack(g, x))
        if ctx.handles[1] >= 0:
            deposit(ctx.handles[1], Dense.pack(g.flatten(1, -2).sum(1) if g.ndim > 2 else g))
        return None, None, into, None, None


def linear(surgery: "Surgery", x: Tensor, *, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Carry out functional.linear under the surgery; either of weight and bias may be tracked."""
    handles = (surgery.use(weight), surgery.use(bias))
    detached = None if bias is None else bias.detach()
    return _Linear.apply(surgery.anchor, handles, x, weight.detach(), detached)


def linear_rule(call: "Call") -> Any:
    """functional.linear, torch.nn.Linear."""
    x, weight, bias = call.bind("input", "weight", "bias")
    surgery = call.surgery
    if surgery.is_tracked(x) or not all(surgery.is_shared(w) for w in (weight, bias)):
        return NotImplemented
    return linear(surgery, x, weight=weight, bias=bias)


def matmul_rule(call: "Call") -> Any:
    """Examples [B, …, i] times a weight [i, o]."""
    x, weight = call.args[:2] if len(call.args) > 1 else (call.args[0], None)
    if weight is None or call.surgery.is_tracked(x) or weight.ndim != 2 or x.ndim < 2:
        return NotImplemented
    # The transpose is followed like any other view of the weight.
    with call.surgery:
        transposed = weight.t()
    return linear(call.surgery, x, weight=transposed, bias=None)
