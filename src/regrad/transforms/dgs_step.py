"""The in-place steps of Dynamic Gradient Scaling.

Acts on: the gradient, and applies the result to the parameters.

Source: :func:`regrad.transforms.dgs.dgs_updates` is the definition of what these compute faster.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from regrad.transforms.dgs_impact import BLOCK, PLAIN, SMALL, Scratch


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
    params: list[Tensor],
    directions: list[Tensor],
    *,
    lr: float,
    eps: float,
    foreach: bool = False,
    scratch: Scratch | None = None,
) -> None:
    """Do θ -= lr g / (|g| + eps), entry by entry."""
    if foreach:
        scores = torch._foreach_abs(directions)
        torch._foreach_add_(scores, eps)
        torch._foreach_addcdiv_(params, directions, scores, -lr)
        return
    for p, g, size in _with_sizes(params, directions, scratch or Scratch()):
        p.addcdiv_(g, size.add_(eps), value=-lr)


def magnitude_step_(
    params: list[Tensor], directions: list[Tensor], rate: Tensor, *, scratch: Scratch | None = None
) -> None:
    """Do θ -= rate |g| g, entry by entry; ``rate`` is 0-dim."""
    for p, g, size in _with_sizes(params, directions, scratch or Scratch()):
        p.addcmul_(g, size.mul_(rate.to(size.device)), value=-1)


def _with_sizes(
    params: list[Tensor], directions: list[Tensor], scratch: Scratch
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield views of θ and g, piece by piece, with |g|, which may be written to and is lost at the next piece."""
    for param, direction in zip(params, directions, strict=True):
        whole = param.numel() < SMALL or type(direction) not in PLAIN
        if whole or not (param.is_contiguous() and direction.is_contiguous()):
            yield param, direction, direction.abs()
            continue
        for p, g in zip(param.view(-1).split(BLOCK), direction.view(-1).split(BLOCK), strict=True):
            yield p, g, torch.abs(g, out=scratch.take(g, g.numel()))


def _spread(rates: Sequence[Tensor], count: int) -> Sequence[Tensor]:
    return list(rates) * count if len(rates) == 1 else rates
