"""Paired comparisons in which a run may have diverged: an infinity is ordered, never averaged."""

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
        both: Seeds at which both diverged: they say nothing about the difference.
    """

    finite: np.ndarray
    favourable: int
    unfavourable: int
    both: int

    @property
    def seeds(self) -> int:
        """All pairs, diverged ones included."""
        return self.finite.size + self.favourable + self.unfavourable + self.both

    def signs(self, margin: float = 0.0) -> tuple[int, int]:
        """Return (wins, losses), infinities included; gains within ±margin are neither."""
        wins = int((self.finite > margin).sum()) + self.favourable
        return wins, int((self.finite < -margin).sum()) + self.unfavourable


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


def sign_p(pairs: Pairs, alternative: str = "two-sided", margin: float = 0.0) -> float:
    """Return the p-value of the exact sign test over all pairs, diverged ones counted as ±inf.

    Args:
        pairs: The paired gains.
        alternative: ``"two-sided"``; ``"less"`` asks whether the treatment loses, ``"greater"`` whether it
            wins.
        margin: Gains within ±margin are ties, which the test leaves out.
    """
    wins, losses = pairs.signs(margin)
    if wins + losses == 0:
        return 1.0
    return float(stats.binomtest(wins, wins + losses, alternative=alternative).pvalue)
