"""Acts on: the per-example gradients, through their mean and variance: Adam's preconditioner ν_c = μ² + c σ².

With gbar the batch's mean gradient, v = 1/(B-1) sum_i (g_i - gbar)² the per-example variance, and
E[gbar²] = μ² + σ²/B, the family is averaged over steps from the samples::

    q_c = gbar² + (c - 1/B) v         E[q_c] = μ² + c σ²         c = 1/B: gbar² itself, as in Adam
                                                                 c = 1: (1/B) sum_i g_i², c = inf: v
A single q_c may be negative where c < 1/B. So it is averaged first and bounded from below after.
"""

import math

import torch
from torch import Tensor

from regrad.transforms.checks import in_range, integer_at_least, non_negative

# c of ν_c by name. Adam's c is 1/B whatever B is, so it needs no number.
COEFFICIENTS = {"adam": None, "micro": 1.0, "variance": math.inf, "mean_square": 0.0}


def coefficient(preconditioner: str | float) -> float | None:
    """Return c of ν_c = μ² + c σ² for a name of ``COEFFICIENTS`` or a finite number c >= 0.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(preconditioner, str) and preconditioner in COEFFICIENTS:
        return COEFFICIENTS[preconditioner]
    try:
        non_negative("preconditioner", preconditioner)
    except ValueError:
        names = ", ".join(map(repr, COEFFICIENTS))
        raise ValueError(
            f"preconditioner must be one of {names} or a finite number c >= 0, got {preconditioner!r}"
        ) from None
    return float(preconditioner)


def average_square_(average: Tensor, grad: Tensor, beta: float) -> None:
    """Update ``average`` in place to β average + (1 - β) grad² (all [*param])."""
    average.mul_(beta).addcmul_(grad, grad, value=1 - beta)


def average_(average: Tensor, sample: Tensor, beta: float, *, scale: float = 1.0) -> None:
    """Update ``average`` in place to β average + (1 - β) scale · sample (all [*param])."""
    average.mul_(beta).add_(sample, alpha=(1 - beta) * scale)


def bounded_sum(square: Tensor, excess: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Return max(square + excess, floor · square) and the share of coordinates where the floor decided.

    Args:
        square: [*param], the average of gbar².
        excess: [*param], the average of (c - 1/B) v.
        floor: In [0, 1]: the least fraction of Adam's own ν that is let through, so a step exceeds
            Adam's at most 1/sqrt(floor) times. 0 clips at zero and leaves ``eps`` alone to bound it.

    Returns:
        ν [*param] and the share, a 0-dim tensor in [0, 1] (0 for an empty parameter).
    """
    raw, low = square + excess, floor * square
    clipped = (raw < low).sum() / max(square.numel(), 1)
    return torch.maximum(raw, low), clipped


def resolution(beta: float, step: int) -> float:
    """Return the least fraction of σ²/B that the average of gbar² - v/B can resolve after ``step`` steps.

    sd(gbar² - v/B) is about sqrt(2) σ²/B for one batch where noise dominates; a debiased EMA of
    ``step`` independent ones shrinks it by sqrt((1 - β)/(1 + β) · (1 + β^t)/(1 - β^t)). At t -> inf:
    0.032 for β = 0.999 and 0.14 for β = 0.98. At most 1, which stands for Adam's own ν.
    """
    in_range("beta", beta, 0, 1, open_high=True)
    integer_at_least("step", step, 1)
    forgotten = beta**step
    spread = (1 - beta) / (1 + beta) * (1 + forgotten) / (1 - forgotten)
    return min(1.0, math.sqrt(2 * spread))


def adam_step_(
    param: Tensor,
    moments: tuple[Tensor, Tensor],
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Update ``param`` in place: θ -= lr m̂/(sqrt(ν̂) + eps), m̂ and ν̂ debiased.

    The order of operations is ``torch.optim.AdamW``'s, so that c = 1/B gives its bits.

    Args:
        param: [*param].
        moments: m and ν, [*param] each, not debiased; ν >= 0.
        step: t, counted from 1.
        lr: Learning rate.
        betas: β1 and β2.
        eps: Added to sqrt(ν̂).
    """
    exp_avg, nu = moments
    denominator = (nu.sqrt() / (1 - betas[1] ** step) ** 0.5).add_(eps)
    param.addcdiv_(exp_avg, denominator, value=-(lr / (1 - betas[0] ** step)))
