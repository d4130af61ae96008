"""Acts on: per-example gradients. GroupNorm and InstanceNorm, by folding the batch into the channels.

Seen as one example of B·C channels in B·G groups, the layer is the same, and the native backward's gradient
of scale and shift *is* the per-example one: no pass over the activations is added.
"""

from math import prod
from typing import TYPE_CHECKING, Any

import torch

from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.calls import Call


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias, groups, eps, rows):
        B, C = x.shape[:2]
        y, mean, rstd = torch.native_group_norm(x.contiguous(), weight, bias, B, C, prod(x.shape[2:]), groups, eps)
        ctx.save_for_backward(x, mean, rstd, weight)
        ctx.handles, ctx.groups, ctx.rows = handles, groups, rows
        return y

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x, mean, rstd, weight = saved
        B, C = x.shape[:2]
        positions = prod(x.shape[2:])
        one = (1, B * C, positions)
        # Statistics and scale are of one dtype, be it wider than the activations'.
        scale = mean.new_ones(C) if weight is None else weight.to(mean.dtype)
        into, by_scale, by_shift = torch.ops.aten.native_group_norm_backward.default(
            # The kernel reads its tensors as contiguous, whatever they are.
            g.reshape(one).contiguous(), x.to(g.dtype).reshape(one).contiguous(), mean.view(1, -1), rstd.view(1, -1),
            scale.expand(B, C).reshape(-1),
            1, B * C, positions, B * ctx.groups, (True, True, True),
        )  # fmt: skip
        parts = (Dense.of_rows(v.view(B, C), ctx.rows) for v in (by_scale, by_shift))
        for handle, part in zip(ctx.handles, parts, strict=True):
            deposit(handle, part)
        return None, None, into.view_as(x).to(x.dtype), None, None, None, None, None


def _apply(call: "Call", arguments: tuple[Any, ...]) -> Any:
    x, groups, weight, bias, eps = arguments
    surgery = call.surgery
    if surgery.is_tracked(x) or not all(surgery.is_shared(w) for w in (weight, bias)):
        return NotImplemented
    handles = (surgery.use(weight), surgery.use(bias))
    weight, bias = (None if w is None else w.detach() for w in (weight, bias))
    eps = 1e-5 if eps is None else eps
    return _GroupNorm.apply(surgery.anchor, handles, x, weight, bias, groups, eps, call.fold)


def group_norm_rule(call: "Call") -> Any:
    """functional.group_norm, torch.nn.GroupNorm."""
    x, groups, weight, bias, eps = call.bind("input", "num_groups", "weight", "bias", "eps")
    return _apply(call, (x, groups, weight, bias, eps))


def instance_norm_rule(call: "Call") -> Any:
    """functional.instance_norm, torch.nn.InstanceNorm1d/2d/3d: as many groups as channels."""
    x, mean, _, weight, bias, _, _, eps = call.bind(
        "input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"
    )
    if mean is not None:
        raise call.refuse("running statistics mix the examples; set track_running_stats=False", final=True)
    return _apply(call, (x, x.shape[1], weight, bias, eps))


def batch_norm_rule(call: "Call") -> Any:
    """functional.batch_norm: with fixed statistics a scale and a shift; with the batch's own, refused."""
    x, mean, variance, weight, bias, training, _, eps = call.bind(
        "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"
    )
    if training or mean is None:
        raise call.refuse(
            "batch normalisation makes each loss depend on the whole batch; use GroupNorm or eval()", final=True
        )
    shape = (-1, *(1,) * (x.ndim - 2))
    # By hand: of a batch of one torch's way back may take a gradient's layout for another.
    inverse = (variance + (1e-5 if eps is None else eps)).rsqrt()
    y = torch.addcmul((-mean * inverse).view(shape), x, inverse.view(shape)).to(x.dtype)
    with call.surgery:
        y = y if weight is None else y * weight.reshape(shape)
        return y if bias is None else y + bias.reshape(shape)
