"""What ALSDGC's printed rules do to given gradient norms, without a model: lists of numbers for figures.

Acts on: nothing. The rules are arguments, so that an altered rule can be compared with the printed one.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from regrad.transforms.clipping import update_clipping_threshold
from regrad.transforms.loss_scale import grow_after_interval, update_loss_scale

ScaleRule = Callable[..., float]
ThresholdRule = Callable[[float, float, float], float]


class Path(NamedTuple):
    """One value per step t, all before the step's update of scale and threshold."""

    scale: list[float]  # s_t
    threshold: list[float]  # θ_t
    measured: list[float]  # the norm the algorithm sees: s_t * g_t, or g_t with unscaling
    applied: list[float]  # the norm the optimizer gets
    multiplier: list[float]  # applied / g_t: SGD's learning rate is in effect multiplied by it

    def clip_rate(self, start: int = 0) -> float:
        """Return the fraction of steps from ``start`` on whose measured norm exceeds the threshold."""
        pairs = list(zip(self.measured, self.threshold, strict=True))[start:]
        return sum(norm > threshold for norm, threshold in pairs) / len(pairs)


def literal_path(
    norms: Iterable[float],
    lr: float,
    *,
    init_scale: float = 1.0,
    init_threshold: float = 1.0,
    unscale: bool = False,
    scale_rule: ScaleRule = update_loss_scale,
    threshold_rule: ThresholdRule = update_clipping_threshold,
) -> Path:
    """Follow the printed algorithm through the norms of true gradients, none of which overflows.

    Args:
        norms: g_t > 0, of the true gradient, one per step.
        lr: Learning rate of the base optimizer, > 0.
        init_scale: s0; the paper gives none.
        init_threshold: θ0; 1.0 in the paper's example.
        unscale: Divide by the scale before clipping (V1) or not (V0).
        scale_rule: Called with (s, measured norm, nan): there is no loss here.
        threshold_rule: Called with (θ, measured norm, lr).

    Source: ALSDGC, section 3, steps 3-7.
    """
    path = Path([], [], [], [], [])
    scale, threshold = init_scale, init_threshold
    for norm in norms:
        measured = norm if unscale else scale * norm
        applied = measured * min(threshold / (measured + 1e-6), 1.0)
        for column, value in zip(path, (scale, threshold, measured, applied, applied / norm), strict=True):
            column.append(value)
        scale = scale_rule(scale, measured, math.nan)
        threshold = threshold_rule(threshold, measured, lr)
    return path


def scale_clock(steps: int, *, init_scale: float = 1.0, rule: ScaleRule = update_loss_scale) -> list[float]:
    """Return s_0 … s_steps without overflow: ``min(s0 * 2**t, 65536)`` whatever the gradients and losses."""
    scales = [init_scale]
    for _ in range(steps):
        scales.append(rule(scales[-1], math.nan, math.nan))
    return scales


def threshold_fixed_point(norms: Sequence[float], lr: float) -> float:
    """Return the θ at which the printed threshold rule rises and falls equally often: median(g) / lr."""
    return statistics.median(norms) / lr


def steps_to_fixed_point(
    norm: float, lr: float, *, init_threshold: float = 1.0, adjustment_factor: float = 1.1
) -> float:
    """Return how many steps the threshold needs to come from θ0 to norm / lr, at ±ln 1.1 per step."""
    return abs(math.log(norm / (lr * init_threshold))) / math.log(adjustment_factor)


def overflow_path(
    steps: int, largest_scale: float, *, growth_interval: int | None = None, init_scale: float = 2.0**16
) -> list[bool]:
    """Return which steps overflow if every scale above ``largest_scale`` does.

    Args:
        steps: Number of steps.
        largest_scale: Largest scale that does not overflow.
        growth_interval: None for the printed rule (told of overflows), else good steps before a growth.
        init_scale: s0.
    """
    overflows: list[bool] = []
    scale, good_steps = init_scale, 0
    for _ in range(steps):
        overflow = scale > largest_scale
        overflows.append(overflow)
        if growth_interval is None:
            scale = update_loss_scale(scale, math.nan, math.nan, overflow=overflow)
        else:
            scale, good_steps = grow_after_interval(
                scale, good_steps, overflow=overflow, growth_factor=2.0, backoff_factor=0.5,
                growth_interval=growth_interval, min_scale=1.0, max_scale=2.0**16,
            )  # fmt: skip
    return overflows


def adam_step_sizes(steps: int, *, growth: float = 1.1, betas: tuple[float, float] = (0.9, 0.999)) -> list[float]:
    """Return Adam's |update| / lr at each step of a gradient that grows by a constant factor.

    That is V0's clipped gradient while the threshold climbs; a constant gradient gives 1 throughout.

    Args:
        steps: Number of steps.
        growth: Factor per step, > 0.
        betas: Adam's averaging constants.
    """
    sizes = []
    first = second = 0.0
    for t in range(1, steps + 1):  # in units of the present gradient, so that nothing overflows
        first = betas[0] * first / growth + 1.0 - betas[0]
        second = betas[1] * second / growth**2 + 1.0 - betas[1]
        sizes.append(first / (1.0 - betas[0] ** t) / math.sqrt(second / (1.0 - betas[1] ** t)))
    return sizes


def adam_step_limit(*, growth: float = 1.1, betas: tuple[float, float] = (0.9, 0.999)) -> float:
    """Return the limit of :func:`adam_step_sizes` (defaults: about 7.3), for ``growth**2 > betas[1]``."""
    mean = (1.0 - betas[0]) / (1.0 - betas[0] / growth)
    square = (1.0 - betas[1]) / (1.0 - betas[1] / growth**2)
    return mean / math.sqrt(square)
