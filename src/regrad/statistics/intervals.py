"""Student-t intervals and tests of paired differences, Holm's correction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy import special, stats

# Below this share of the largest difference a standard deviation is rounding, not spread.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        estimate: Mean of the differences, in their unit.
        low: Lower end; -inf for one difference, which says nothing about spread.
        high: Upper end; +inf likewise.
        n: Differences.
        level: Nominal coverage, in (0, 1).
        deviation: Standard deviation of one difference (n − 1 below the line); nan for n = 1.
    """

    estimate: float
    low: float
    high: float
    n: int
    level: float
    deviation: float

    def inside(self, low: float, high: float) -> bool:
        """Whether the whole interval lies in the closed range [low, high]."""
        return low <= self.low and self.high <= high


def finite(differences: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return a float64 vector [n], n ≥ 1.

    Raises:
        ValueError: Empty, not a vector, or not finite: a diverged run has no place in a mean.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"differences: shape {values.shape}; allowed: a vector of at least one number")
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)][0]
        raise ValueError(f"differences: {bad}; allowed: finite numbers (pair_gains sets diverged runs apart)")
    return values


def spread(values: np.ndarray) -> float:
    """Return the standard deviation of a vector [n], n ≥ 2, exactly 0 where it is rounding."""
    deviation = float(values.std(ddof=1))
    return 0.0 if deviation <= ROUNDING * np.abs(values).max() else deviation


def paired_interval(differences: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Return the Student-t interval of the mean difference.

    Args:
        differences: One number a seed, treatment minus control [n].
        level: Nominal coverage, in (0, 1).

    Returns:
        The interval: unbounded for n = 1, of width 0 where all differences are equal.

    Raises:
        ValueError: An empty or non-finite input, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; allowed: 0 < level < 1")
    values = finite(differences)
    n, mean = values.size, float(values.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1, level, math.nan)
    deviation = spread(values)
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level, deviation)


def paired_p(differences: Sequence[float] | np.ndarray, against: float = 0.0, alternative: str = "two-sided") -> float:
    """Return the p-value of the paired t-test that the mean difference is ``against``.

    One difference gives 1. Equal differences have no t statistic: the exact sign test then gives the p-value,
    2^(1−n) two-sided, rather than 0.

    Args:
        differences: One number a seed [n].
        against: Mean under the null hypothesis.
        alternative: ``"two-sided"``, ``"less"`` or ``"greater"``.
    """
    values = finite(differences) - against
    if values.size == 1:
        return 1.0
    if spread(values) > 0:
        return float(stats.ttest_1samp(values, 0.0, alternative=alternative).pvalue)
    if values.mean() == 0:
        return 1.0
    wins = values.size if values.mean() > 0 else 0
    return float(stats.binomtest(wins, values.size, alternative=alternative).pvalue)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return Holm's adjusted p-values over a family; a claim without a p-value (None) does not count."""
    counted = {name: p for name, p in p_values.items() if p is not None}
    # Not statsmodels' multipletests: it collects garbage at every call, a tenth of a second.
    ordered = sorted(counted.items(), key=lambda item: item[1])
    steps = (min(1.0, (len(ordered) - j) * p) for j, (_, p) in enumerate(ordered))
    return dict(p_values) | {name: p for (name, _), p in zip(ordered, accumulate(steps, max), strict=True)}


def holm_levels(p_values: Mapping[str, float], alpha: float = 0.05) -> dict[str, float]:
    """Return the level at which Holm's procedure tested each hypothesis of a family, for the interval beside it.

    Step j of m tests at α / (m − j + 1); the first step that does not reject ends the procedure, and its level is that
    of all that follow. An interval of level 1 − this excludes the null exactly where Holm's adjusted p is below α.
    """
    levels, level, rejecting = {}, 0.0, True
    for j, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        level = alpha / (len(p_values) - j) if rejecting else level
        rejecting = rejecting and p < level
        levels[name] = level
    return levels
