"""Acts on: per-example gradients. Convolutions with any stride, dilation and groups.

The weight gradients of a few examples come from one call: the examples become groups of a wider convolution.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.contributions import Dense
from regrad.perexample.convolved import Convolved
from regrad.perexample.deposits import deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.calls import Call


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias, geometry, rows):
        stride, padding, dilation, groups = geometry
        axes, dtype = len(stride), x.dtype
        # Autocast knows conv2d and its like, not the operator behind them.
        if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
            low = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = (None if t is None else t.to(low) for t in (x, weight, bias))
        # The one operator behind conv1d, conv2d and conv3d, whose geometry its backward takes as it is.
        y = torch.convolution(x, weight, bias, stride, padding, dilation, False, [0] * axes, groups)
        ctx.save_for_backward(x.to(y.dtype), weight)
        ctx.handles, ctx.geometry, ctx.rows, ctx.dtype = handles, geometry, rows, dtype
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
        deposit(ctx.handles[0], Convolved.pack(g, x, weight.shape, (*ctx.geometry, ctx.rows)))
        if ctx.handles[1] >= 0:
            deposit(ctx.handles[1], Dense.of_rows(g.flatten(2).sum(2), ctx.rows))
        return None, None, into, None, None, None, None


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
    return _Convolution.apply(surgery.anchor, handles, x, weight.detach(), bias, geometry, call.fold)


class _Transposed(torch.autograd.Function):
    """Its weight's gradient is a convolution's, with input and output in each other's place."""

    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias, geometry, rows):
        stride, padding, dilation, groups, extra = geometry
        y = torch.convolution(x, weight, bias, stride, padding, dilation, True, extra, groups)
        ctx.save_for_backward(x, weight)
        ctx.handles, ctx.geometry, ctx.rows = handles, geometry, rows
        return y

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x, weight = saved
        stride, padding, dilation, groups, extra = ctx.geometry
        into = None
        if ctx.needs_input_grad[2]:
            shape = (stride, padding, dilation, True, extra, groups)
            into = torch.ops.aten.convolution_backward.default(g, x, weight, None, *shape, (True, False, False))[0]
        geometry = (stride, padding, dilation, groups, ctx.rows)
        deposit(ctx.handles[0], Convolved.pack(x, g, weight.shape, geometry))
        if ctx.handles[1] >= 0:
            deposit(ctx.handles[1], Dense.of_rows(g.flatten(2).sum(2), ctx.rows))
        return None, None, into, None, None, None, None


def transposed_convolution_rule(call: "Call") -> Any:
    """functional.conv_transpose1d/2d/3d, torch.nn.ConvTranspose1d/2d/3d."""
    x, weight, bias, stride, padding, extra, groups, dilation = call.bind(
        "input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"
    )
    surgery = call.surgery
    if surgery.is_tracked(x) or not all(surgery.is_shared(w) for w in (weight, bias)) or x.ndim != weight.ndim:
        return NotImplemented
    dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    if x.dtype != torch.float64:
        x = x.to(dtype)
    axes = weight.ndim - 2
    stride, padding, extra, dilation = (_each(v, axes) for v in (stride or 1, padding or 0, extra or 0, dilation or 1))
    handles = (surgery.use(weight), surgery.use(bias))
    weight, bias = (None if w is None else w.detach().to(x.dtype) for w in (weight, bias))
    geometry = (stride, padding, dilation, groups or 1, extra)
    return _Transposed.apply(surgery.anchor, handles, x, weight, bias, geometry, call.fold)


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
