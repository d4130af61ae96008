"""Acts on: per-example gradients. Convolutions with any stride, dilation and groups.

The weight gradients of a few examples come from one call: the examples become groups of a wider convolution.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.contributions import Dense
from regrad.perexample.convolved import Convolved
from regrad.perexample.deposits import anchor_gradient, deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.surgery import Call


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias, geometry):
        stride, padding, dilation, groups = geometry
        axes = len(stride)
        # The one operator behind conv1d, conv2d and conv3d, whose geometry its backward takes as it is.
        y = torch.convolution(x, weight, bias, stride, padding, dilation, False, [0] * axes, groups)
        ctx.save_for_backward(x.to(y.dtype), weight)
        ctx.handles, ctx.geometry, ctx.dtype = handles, geometry, x.dtype
        return y

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x, weight = saved
        stride, padding, dilation, groups = ctx.geometry
        into = None
        if ctx.needs_input_grad[2]:
            shape = (stride, padding, dilation, False, [0] * len(stride), groups)
            w = weight.to(g.dtype)
            into = torch.ops.aten.convolution_backward.default(g, x, w, None, *shape, (True, False, False))[0]
            into = into.to(ctx.dtype)
        zeros = [deposit(ctx.handles[0], Convolved.pack(g, x, weight.shape, ctx.geometry))]
        if ctx.handles[1] >= 0:
            zeros.append(deposit(ctx.handles[1], Dense.pack(g.flatten(2).sum(2))))
        return anchor_gradient(*zeros), None, into, None, None, None


def convolution_rule(call: "Call") -> Any:
    """functional.conv1d/2d/3d, torch.nn.Conv1d/2d/3d."""
    x, weight, bias, stride, padding, dilation, groups = call.bind(
        "input", "weight", "bias", "stride", "padding", "dilation", "groups"
    )
    surgery = call.surgery
    if surgery.is_tracked(x) or not all(surgery.is_shared(w) for w in (weight, bias)) or x.ndim != weight.ndim:
        return NotImplemented
    axes = weight.ndim - 2
    stride, dilation = _each(stride or 1, axes), _each(dilation or 1, axes)
    x, padding = _pad(x, padding or 0, kernel=weight.shape[2:], dilation=dilation)
    handles = (surgery.use(weight), surgery.use(bias))
    bias = None if bias is None else bias.detach()
    geometry = (stride, padding, dilation, groups or 1)
    return _Convolution.apply(surgery.anchor, handles, x, weight.detach(), bias, geometry)


def _each(value: Any, axes: int) -> list[int]:
    value = list(value) if isinstance(value, tuple | list) else [value]
    return value * axes if len(value) == 1 else value


def _pad(x: Tensor, padding: Any, *, kernel: Any, dilation: list[int]) -> tuple[Tensor, list[int]]:
    """Padding that is the same on both sides is left to the convolution; "same" may not be."""
    if padding == "valid":
        return x, [0] * len(dilation)
    if padding != "same":
        return x, _each(padding, len(dilation))
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    sides = [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
    return functional.pad(x, sides), [0] * len(dilation)
