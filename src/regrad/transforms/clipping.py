"""Norm clipping and rules for its threshold: the two ALSDGC prints, and averages that repair them.

Acts on: the gradient, before the base optimizer's step. Thresholds are numbers, gradients tensors.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


@torch.no_grad()
def dynamic_gradient_clipping(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float | str = 2.0
) -> Tensor:
    """Scale the gradients in place so that their joint norm is at most ``max_norm``; return the norm before.

    On finite gradients this is ``torch.nn.utils.clip_grad_norm_`` to the bit, and nothing in it is
    dynamic. Nothing guards it either: an infinite norm makes infinite entries nan and all others 0; a
    nan norm clips nothing (torch's makes every entry nan).

    Args:
        parameters: A tensor or tensors of any shapes; those without a gradient are left out.
        max_norm: The threshold, in units of the gradient as it stands (scaled, if the loss was).
        norm_type: p of the p-norm; ``math.inf`` or ``"inf"`` for the largest absolute entry.

    Returns:
        The joint norm ``[]``, or 0 if there is no gradient.

    Source: ALSDGC, step 6, ``dynamic_gradient_clipping``.
    """
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = [p.grad for p in tensors if p.grad is not None and p.grad.numel() > 0]
    if not grads:
        return torch.tensor(0.0)
    p = float(norm_type)
    norms = [torch.linalg.vector_norm(grad, p).to(grads[0].device) for grad in grads]
    total_norm = torch.linalg.vector_norm(torch.stack(norms), p)
    clip_coef = float(max_norm) / (total_norm + 1e-6)
    if clip_coef < 1:
        for grad in grads:
            grad.mul_(clip_coef.to(grad.device))
    return total_norm


def update_clipping_threshold(
    current_threshold: float, gradient_norm: float, learning_rate: float, *, adjustment_factor: float = 1.1
) -> float:
    """Return the next threshold by the rule as printed (there, in C++ doubles).

    A sign controller: it rests where ``threshold * learning_rate`` is the median of the norms. Other
    readings of the rule are other arguments: ``lr * g > θ`` is ``(θ, lr * g, 1.0)`` and ``g > θ`` is
    ``(θ, g, 1.0)``.

    Args:
        current_threshold: θ, >= 0.
        gradient_norm: g, >= 0.
        learning_rate: The base optimizer's learning rate, >= 0.
        adjustment_factor: The threshold is multiplied or divided by it, > 1.

    Source: ALSDGC, step 7, ``update_clipping_threshold``; its example (1.0, 1.5, 0.1) prints 1.1.
    """
    if gradient_norm > current_threshold * learning_rate:
        return current_threshold * adjustment_factor
    return current_threshold / adjustment_factor


class Moments(NamedTuple):
    """Running mean and variance of ``number`` values."""

    number: int = 0
    mean: float = 0.0
    variance: float = 0.0


def update_moments(moments: Moments, value: float, *, beta: float) -> Moments:
    """Count ``value`` in: the plain mean of the first ``1 / (1 - beta)`` values, exponential after.

    Args:
        moments: What was returned before, or ``Moments()``.
        value: A finite number.
        beta: Weight of the past, in [0, 1).
    """
    weight = max(1.0 - beta, 1.0 / (moments.number + 1))
    off = value - moments.mean
    variance = (1.0 - weight) * (moments.variance + weight * off * off)
    return Moments(moments.number + 1, moments.mean + weight * off, variance)


def is_high(moments: Moments, value: float, *, zscore: float) -> bool:
    """Say whether ``value`` lies more than ``zscore`` standard deviations above the running mean."""
    return value - moments.mean > zscore * math.sqrt(moments.variance)


def gate_multiple(
    multiple: float, loss_is_high: bool, *, factor: float, recovery: int, low: float, high: float
) -> float:
    """Tighten the threshold's multiple after a high loss, relax it a little after any other.

    It shrinks in the long run if more than one loss in ``recovery + 1`` is high.

    Args:
        multiple: k in ``θ = k * mean(norm)``.
        loss_is_high: Whether the step's loss stands out.
        factor: Divides the multiple after a high loss, > 1.
        recovery: Number of other steps that undo one division, >= 1.
        low: Least multiple.
        high: Largest multiple.

    Source: ours, after ALSDGC's "refine with heuristics based on loss/grad stability".
    """
    proposed = multiple / factor if loss_is_high else multiple * factor ** (1.0 / recovery)
    return min(max(proposed, low), high)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of sorted numbers, linear between neighbours (numpy's default).

    Args:
        ordered: One or more numbers in ascending order.
        percent: In [0, 100].
    """
    position = (len(ordered) - 1) * percent / 100.0
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
