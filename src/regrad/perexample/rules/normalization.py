"""Acts on: per-example gradients. Scale and shift [B, *normalized] of LayerNorm and RMSNorm."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.calls import Call

# Below so many elements an example, one vectorised pass beats a native call for each example.
_WORTH_A_CALL = 1 << 13


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias, shape, eps):
        y, mean, rstd = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, mean, rstd, weight, bias)
        ctx.handles, ctx.shape = handles, shape
        return y

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x = saved[0]
        x_in = x if x.dtype == g.dtype else x.to(g.dtype)
        if x.device.type == "cpu" and x.ndim > len(ctx.shape) + 1 and x[0].numel() >= _WORTH_A_CALL:
            into, scale, shift = _example_by_example(g, x_in, saved[1:], ctx.shape)
        else:
            into, scale, shift = _at_once(g, x_in, saved[1:], ctx.shape)
        for handle, gradient in zip(ctx.handles, (scale, shift), strict=True):
            deposit(handle, Dense.pack(gradient))
        return None, None, into.to(x.dtype), None, None, None, None


def _example_by_example(g: Tensor, x: Tensor, saved: Any, shape: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The native backward sums over what it is given: given one example, its sums are the per-example gradients."""
    mean, rstd, weight, bias = saved
    ones = weight if weight is not None else x.new_ones(shape)
    other = bias if bias is not None else torch.zeros_like(ones)
    into, scales, shifts = [], [], []
    backward = torch.ops.aten.native_layer_norm_backward.default
    for g_e, x_e, mean_e, rstd_e in zip(g.unbind(), x.unbind(), mean.unbind(), rstd.unbind(), strict=True):
        d, scale, shift = backward(g_e, x_e, shape, mean_e, rstd_e, ones, other, (True, True, True))
        into.append(d)
        scales.append(scale)
        shifts.append(shift)
    return torch.stack(into), torch.stack(scales), torch.stack(shifts)


def _at_once(g: Tensor, x: Tensor, saved: Any, shape: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    mean, rstd, weight, bias = saved
    mask = (True, False, False)
    into = torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, weight, bias, mask)[0]
    between = tuple(range(1, x.ndim - len(shape)))
    wide = torch.promote_types(x.dtype, mean.dtype)
    scale = g * ((x.to(wide) - mean) * rstd)
    return into, scale.sum(between) if between else scale, g.sum(between) if between else g


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, handle, x, weight, shape, eps):
        y = functional.rms_norm(x, shape, weight, eps)
        ctx.save_for_backward(x, weight)
        ctx.handle, ctx.shape, ctx.eps = handle, shape, eps
        return y

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x, weight = saved
        axes = tuple(range(-len(ctx.shape), 0))
        wide = torch.promote_types(x.dtype, torch.float32)
        # As torch's forward: of the dtype it computes in, not of the input's.
        eps = torch.finfo(wide).eps if ctx.eps is None else ctx.eps
        rstd = torch.rsqrt(x.to(wide).square().mean(axes, keepdim=True) + eps)
        unit = x * rstd
        scaled = g * weight
        into = (rstd * (scaled - unit * (scaled * unit).mean(axes, keepdim=True))).to(x.dtype)
        between = tuple(range(1, x.ndim - len(ctx.shape)))
        scale = g * unit
        deposit(ctx.handle, Dense.pack(scale.sum(between) if between else scale))
        return None, None, into, None, None, None


def layer_norm_rule(call: "Call") -> Any:
    """functional.layer_norm, torch.nn.LayerNorm."""
    x, shape, weight, bias, eps = call.bind("input", "normalized_shape", "weight", "bias", "eps")
    surgery = call.surgery
    if surgery.is_tracked(x) or not all(surgery.is_shared(w) for w in (weight, bias)) or x.ndim <= len(shape):
        return NotImplemented
    handles = (surgery.use(weight), surgery.use(bias))
    weight, bias = (None if w is None else w.detach() for w in (weight, bias))
    return _LayerNorm.apply(surgery.anchor, handles, x, weight, bias, list(shape), 1e-5 if eps is None else eps)


def rms_norm_rule(call: "Call") -> Any:
    """functional.rms_norm, torch.nn.RMSNorm."""
    x, shape, weight, eps = call.bind("input", "normalized_shape", "weight", "eps")
    surgery = call.surgery
    if surgery.is_tracked(x) or x.ndim <= len(shape):
        return NotImplemented
    return _RMSNorm.apply(surgery.anchor, surgery.use(weight), x, weight.detach(), list(shape), eps)
