"""Time to a target, performance profiles over tasks, width of a learning-rate bowl."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def steps_to_target(steps: Sequence[float], values: Sequence[float], target: float) -> float:
    """Return where a curve first reaches the target, linear between its points; inf for a miss.

    Args:
        steps: Increasing positions (steps, tokens or seconds) [n].
        values: Values there [n], lower is better; NaN never reaches a target.
        target: Value to reach, in the unit of ``values``; inf is reached at once.

    Returns:
        The first position itself where the curve starts at or below the target.

    Raises:
        ValueError: Unequal lengths or a target that is NaN.
    """
    if len(steps) != len(values) or math.isnan(target):
        given = f"{len(steps)} steps, {len(values)} values, target {target}"
        raise ValueError(f"curve: {given}; allowed: equal lengths and a target that is a number")
    for place, (step, value) in enumerate(zip(steps, values, strict=True)):
        if value <= target:
            before, above = (steps[place - 1], values[place - 1]) if place else (step, math.nan)
            # From a point that is not finite no line leads here: the value counts from its own step on.
            share = (above - target) / (above - value) if math.isfinite(above) else 1.0
            return float(before + share * (step - before))
    return math.inf


def performance_profile(times: Mapping[str, Mapping[str, float]], factors: Sequence[float]) -> dict[str, np.ndarray]:
    """Return, for each arm, the share of tasks it solves within each factor of the fastest arm.

    Args:
        times: Arm to task to time; inf for a miss. Every arm has every task.
        factors: Factors τ ≥ 1 at which the profile is taken [k].

    Returns:
        Arm to shares [k], in [0, 1]. A task that nobody solves counts against everybody.

    Raises:
        ValueError: No arm, arms with different tasks, or a time that is not positive.

    Source: Dolan and Moré 2002, "Benchmarking optimization software with performance profiles".
    """
    tasks = sorted({task for row in times.values() for task in row})
    for arm, row in times.items():
        if sorted(row) != tasks:
            missing = sorted(set(tasks) - set(row))
            raise ValueError(f"times: arm {arm!r} lacks {missing}; allowed: every task in every arm")
    table = np.array([[times[arm][task] for task in tasks] for arm in times], dtype=np.float64)
    if table.size == 0 or not (table > 0).all():
        raise ValueError("times: empty or not positive; allowed: positive numbers, inf for a miss")
    best = table.min(axis=0)
    ratios = np.divide(table, best, out=np.full_like(table, math.inf), where=np.isfinite(best))
    shares = (ratios[:, :, None] <= np.asarray(factors, dtype=np.float64)).mean(axis=1)
    return dict(zip(times, shares, strict=True))


@dataclass(frozen=True)
class Width:
    """How forgiving a learning rate is.

    Attributes:
        decades: log10 of highest over lowest learning rate within tolerance of the best, around the best.
        censored: Whether the range runs into an end of the grid, so that ``decades`` is a lower bound.
    """

    decades: float
    censored: bool


def lr_width(lrs: Sequence[float], values: Sequence[float], tolerance: float) -> Width:
    """Return the width of the range around the best learning rate in which the value stays within tolerance.

    The crossing is interpolated linearly in log learning rate; next to a diverged run (inf) the range ends at
    the last good grid point.

    Args:
        lrs: Positive learning rates, in any order, each once [n].
        values: Mean final value at each, lower is better; inf where a run diverged [n].
        tolerance: Allowed excess over the best, ≥ 0, in the unit of ``values``.

    Raises:
        ValueError: Unequal lengths, a learning rate that is repeated or not positive, NaN, no finite value.
    """
    order = np.argsort(lrs)
    x, y = np.asarray(lrs, dtype=np.float64)[order], np.asarray(values, dtype=np.float64)[order]
    if not (x > 0).all() or len(set(lrs)) < len(lrs) or np.isnan(y).any() or not np.isfinite(y).any():
        raise ValueError("lrs: allowed: distinct positive learning rates, at least one finite value, no NaN")
    x, limit, best = np.log10(x), float(y.min()) + tolerance, int(y.argmin())
    high, high_open = _reach(x[best:], y[best:], limit)
    low, low_open = _reach(x[best::-1], y[best::-1], limit)
    return Width(decades=abs(high - low), censored=high_open or low_open)


def _reach(x: np.ndarray, y: np.ndarray, limit: float) -> tuple[float, bool]:
    """Walk outward from the optimum; return where the limit is crossed, and whether the grid ended first."""
    beyond = np.flatnonzero(y > limit)
    if beyond.size == 0:
        return float(x[-1]), True
    i = int(beyond[0])
    share = 0.0 if math.isinf(y[i]) else (limit - y[i - 1]) / (y[i] - y[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1])), False
