"""The in-place steps of Dynamic Gradient Scaling.

Acts on: the gradient, and applies the result to the parameters.

Source: :func:`regrad.transforms.dgs.dgs_updates` is the definition of what these compute faster.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def scaled_step_(
    params: list[Tensor], directions: list[Tensor], rates: Sequence[Tensor], *, foreach: bool = False
) -> None:
    """Do θ -= rate · direction. ``rates`` holds one 0-dim tensor for all, or one for each parameter.

    A rate stays a tensor, so that a step on a GPU does not wait for the sum behind it.
    """
    if len(rates) == 1 and rates[0].is_cpu and not foreach:
        torch._foreach_add_(params, directions, alpha=-rates[0].item())
        return
    own = [rate.to(p.device) for p, rate in zip(params, _spread(rates, len(params)), strict=True)]
    if foreach:
        torch._foreach_sub_(params, torch._foreach_mul(directions, own))
        return
    for param, direction, rate in zip(params, directions, own, strict=True):
        param.addcmul_(direction, rate, value=-1)


def smoothed_sign_step_(
    params: list[Tensor], directions: list[Tensor], *, lr: float, eps: float, foreach: bool = False
) -> None:
    """Do θ -= lr g / (|g| + eps), entry by entry."""
    if foreach:
        scores = torch._foreach_abs(directions)
        torch._foreach_add_(scores, eps)
        torch._foreach_addcdiv_(params, directions, scores, -lr)
        return
    for param, direction in zip(params, directions, strict=True):
        param.addcdiv_(direction, direction.abs().add_(eps), value=-lr)


def _spread(rates: Sequence[Tensor], count: int) -> Sequence[Tensor]:
    return list(rates) * count if len(rates) == 1 else rates
