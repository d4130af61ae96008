"""Acts on: the per-example gradients, the gradient or the update, whichever the placement of the sign says.

The three places of the sign, with EMA_b(z)_t = b EMA_{t-1} + (1 - b) z_t, started at 0 and not debiased::

    "example"   m = EMA_b( (1/n) sum of sign(g_i) )     update m         g_i: an example's gradient, or
    "batch"     m = EMA_b( sign(gbar) )                 update m         the mean of a group of k examples
    "ema"       m = EMA_b( gbar )                       update sign(m)   gbar: the batch's mean gradient

With k = B there is one group, and "example" is "batch". With b = 0, "batch" and "ema" are one update.
"""

import torch
from torch import Tensor


def sign_direction(grad: Tensor, average: Tensor | None, *, momentum: float, placement: str) -> Tensor:
    """Return the direction u of θ -= lr u, after updating ``average`` in place.

    Args:
        grad: [*param], real. The mean gradient, or for "example" the mean of the signs (divided by
            the number of examples or groups, so within [-1, 1]).
        average: [*param], m; ``None`` stands for no averaging (b = 0).
        momentum: b, in [0, 1).
        placement: One of ``regrad.transforms.placements.PLACEMENTS``.

    Returns:
        [*param]. It may be ``grad`` or ``average`` itself: do not write into it. sign(0) = 0.
    """
    direction = grad.sign() if placement == "batch" else grad
    if average is not None:
        direction = average.lerp_(direction, 1 - momentum)
    return direction.sign() if placement == "ema" else direction


def sign_directions(
    grads: list[Tensor], averages: list[Tensor] | None, *, momentum: float, placement: str
) -> list[Tensor]:
    """Return :func:`sign_direction` of every gradient with torch's horizontally fused operations."""
    directions = list(torch._foreach_sign(grads)) if placement == "batch" else grads
    if averages is not None:
        torch._foreach_lerp_(averages, directions, 1 - momentum)
        directions = averages
    return list(torch._foreach_sign(directions)) if placement == "ema" else directions
