"""From paired gains to a verdict: the rule of the protocol in one place.

Reproduced: the 95 % interval lies beyond 0 in the claimed direction. Not reproduced: it lies beyond 0 in the
other, or the difference is a tie (TOST inside ±margin). A difference that is both significant and
demonstrably smaller than the margin is a tie: the margin was fixed as what matters. Else inconclusive.

Diverged runs. A pair in which one run diverged has an infinite gain. It is never averaged, so an interval
speaks for the finite pairs only, and may not decide against the infinite ones: one seed at which only the
treatment diverged forbids "reproduced", one at which only the control diverged forbids "not reproduced".
Where infinite gains stand in the way, the exact sign test over all pairs decides, gains inside ±margin being
ties: one-sided at 5 % against the claim (five of five seeds), two-sided at 5 % for it (six of six).
"""

from dataclasses import dataclass

from regrad.report.ledger.kinds.outcome import ALPHA, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, bounded
from regrad.statistics.intervals import Interval, equivalence_p, paired_interval, paired_p
from regrad.statistics.pairs import Pairs, sign_p
from regrad.statistics.power import detectable_effect, needed_n


@dataclass(frozen=True)
class Judgement:
    """Verdict on paired gains (positive: as claimed).

    Attributes:
        verdict: Reproduced, not reproduced or inconclusive.
        reason: The rule that applied.
        interval: Of the finite gains; None where there is none.
        p: Two-sided p-value of the t-test, or of the sign test where that decided; None without any pair.
        by_p: Whether the verdict rests on the two-sided p, and so must hold after Holm's correction.
        detectable: Gain seen with 80 % power at this n and spread; None where undefined.
        needed_n: Pairs for 80 % power to see the gain found, or the margin if that is larger.
    """

    verdict: str
    reason: str
    interval: Interval | None
    p: float | None
    by_p: bool
    detectable: float | None
    needed_n: int | None


def judge(pairs: Pairs, margin: float) -> Judgement:
    """Apply the protocol's rule.

    Args:
        pairs: Gains, positive where the claim holds.
        margin: Gain below which a difference does not matter, > 0.
    """
    interval = paired_interval(pairs.finite) if pairs.finite.size else None
    p = paired_p(pairs.finite) if pairs.finite.size else None
    verdict, reason, rests = _by_interval(pairs, margin) if interval else (INCONCLUSIVE, "", True)
    if verdict == INCONCLUSIVE and (pairs.favourable or pairs.unfavourable):
        p = sign_p(pairs, margin=margin)
        verdict, reason, rests = _by_signs(pairs, margin)
    return Judgement(
        verdict=verdict,
        reason=reason or "no pair says anything about the difference",
        interval=interval,
        p=p,
        by_p=rests,
        detectable=bounded(detectable_effect(interval.n) * interval.deviation) if interval else None,
        needed_n=pairs_needed(interval, margin) if interval and verdict == INCONCLUSIVE else None,
    )


def pairs_needed(interval: Interval, margin: float) -> int | None:
    """Return the pairs for 80 % power to see the gain found, or the margin if larger; more than there are."""
    if not interval.deviation > 0:  # one pair (nan) or equal differences: no spread to plan with
        return None
    needed = needed_n(max(interval.estimate, margin) / interval.deviation)
    return None if needed is None else max(needed, interval.n + 1)


def _by_interval(pairs: Pairs, margin: float) -> tuple[str, str, bool]:
    interval, gains = paired_interval(pairs.finite), pairs.finite
    seen = paired_p(gains) < ALPHA
    tie = equivalence_p(gains, margin) < ALPHA
    if not pairs.favourable and interval.high < 0 and seen:
        return NOT_REPRODUCED, "the interval lies beyond 0 against the claimed direction", True
    if not pairs.favourable and tie:
        return NOT_REPRODUCED, "a tie: equivalent within the margin fixed beforehand", False
    if not pairs.unfavourable and not tie and interval.low > 0 and seen:
        return REPRODUCED, "the interval lies beyond 0 in the claimed direction", True
    return INCONCLUSIVE, "the interval allows either direction and more than a tie", True


def _by_signs(pairs: Pairs, margin: float) -> tuple[str, str, bool]:
    counts = f"diverged alone: treatment at {pairs.unfavourable} seeds, control at {pairs.favourable}"
    if sign_p(pairs, "less", margin) < ALPHA:
        return NOT_REPRODUCED, f"{counts}; the sign test is against the claim", False
    if sign_p(pairs, margin=margin) < ALPHA and sign_p(pairs, "greater", margin) < ALPHA:
        return REPRODUCED, f"{counts}; the sign test supports the claim", True
    return INCONCLUSIVE, f"{counts}; the sign test does not decide", True
