"""Paired comparisons in which a run may have diverged: an infinity is ordered, never averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Pairs:
    """Gains of a treatment over a control, one a seed, positive where the claim holds.

    Attributes:
        finite: Gains of the seeds at which both runs ended in a number [n].
        favourable: Seeds at which only the control diverged (gain +inf).
        unfavourable: Seeds at which only the treatment diverged (gain −inf).
        both: Seeds at which both diverged.
    """

    finite: np.ndarray
    favourable: int
    unfavourable: int
    both: int

    @property
    def seeds(self) -> int:
        """All pairs, diverged ones included."""
        return self.gains.size

    @property
    def gains(self) -> np.ndarray:
        """All gains [seeds], ±inf where one run diverged, 0 where both did: at that seed neither was better."""
        return self.gains_with(0.0)

    def gains_with(self, both: float) -> np.ndarray:
        """Return all gains [seeds] with another gain where both runs diverged."""
        infinite = [math.inf] * self.favourable + [-math.inf] * self.unfavourable
        return np.concatenate([self.finite, infinite, [both] * self.both])


def pair_gains(
    treatment: Sequence[float] | np.ndarray, control: Sequence[float] | np.ndarray, direction: str = "lower"
) -> Pairs:
    """Pair two arms seed by seed.

    Args:
        treatment: Values [n]; ±inf marks the worst value, of a diverged run.
        control: Values [n] at the same seeds, in the same order.
        direction: ``"lower"`` where the claim is that the treatment's value is lower, else ``"higher"``.

    Raises:
        ValueError: Unequal lengths or another direction.
    """
    if len(treatment) != len(control):
        raise ValueError(f"pairs: {len(treatment)} and {len(control)} values; allowed: one each a seed")
    if direction not in ("lower", "higher"):
        raise ValueError(f"direction: {direction!r}; allowed: 'lower', 'higher'")
    sign = -1 if direction == "lower" else 1
    with np.errstate(invalid="ignore"):
        gains = sign * (np.asarray(treatment, dtype=np.float64) - np.asarray(control, dtype=np.float64))
    return Pairs(
        finite=gains[np.isfinite(gains)],
        favourable=int(np.isposinf(gains).sum()),
        unfavourable=int(np.isneginf(gains).sum()),
        both=int(np.isnan(gains).sum()),
    )


def rank_p(gains: Sequence[float] | np.ndarray, alternative: str = "two-sided", against: float = 0.0) -> float:
    """Return the p-value of the exact signed-rank test that gains are symmetric about ``against``.

    Equal sizes, infinite ones among them, take ranks of their own, those that speak against the alternative the higher
    ones; a gain of exactly ``against`` speaks against either. Mid-ranks would lose what a verdict needs: with them the
    p-value can rise when a gain moves in the direction of the alternative (−3, −3, 1, 1 to −∞, −3, 1, 1).

    Args:
        gains: One a seed, none of them NaN [n].
        alternative: ``"two-sided"``; ``"less"`` asks whether gains lie below ``against``, ``"greater"`` above.
        against: Centre under the null hypothesis.

    Source: Wilcoxon 1945, "Individual comparisons by ranking methods"; the exact distribution is scipy's.
    """
    if alternative == "two-sided":
        return min(1.0, 2 * min(rank_p(gains, side, against) for side in ("less", "greater")))
    side = 1 if alternative == "greater" else -1
    moved = side * (np.asarray(gains, dtype=np.float64) - against)
    order = np.lexsort((moved <= 0, np.abs(moved)))
    ranks = np.where(moved[order] > 0, 1.0, -1.0) * np.arange(1, moved.size + 1)
    return float(stats.wilcoxon(ranks, alternative="greater", method="exact").pvalue) if moved.size else 1.0


def fewest_pairs(alpha: float) -> int:
    """Return the fewest pairs with which `rank_p`, two-sided, can fall below a level: 6 for 5 %."""
    return math.floor(1 - math.log2(alpha)) + 1
