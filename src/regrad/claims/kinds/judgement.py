"""From paired gains to p-values: the rule of the protocol in one place.

*Finite gains.* The paired t-test asks whether the mean gain lies beyond 0, and two one-sided tests (TOST) whether it
lies inside ±margin. A difference that is both significant and demonstrably smaller than the margin is a tie: the
margin was fixed as what matters.

*A pair with an infinity.* A run that diverged or missed its target has no number, and gains have no mean. Then one
test speaks for all pairs, the exact signed-rank test with infinite gains ordered. A seed at which both failed counts
as 0, as do gains inside ±margin, which do not matter. It needs six pairs for 5 %, in either direction. No tie is
decided: what two failed runs would have reached is unknown. The interval then speaks of the finite pairs and decides
nothing.

*More evidence.* The signed-rank p only falls when a gain moves in its direction, to infinity or not, and the t-test's
when all gains do. The two are not one scale: at five seeds a difference that a t-test shows is beyond what ranks can.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from regrad.claims.kinds.finding import REASONS, two_sided
from regrad.claims.kinds.outcome import Outcome, bounded
from regrad.statistics.intervals import Interval, equivalence_p, paired_interval, paired_p
from regrad.statistics.pairs import Pairs, fewest_pairs, rank_p
from regrad.statistics.power import detectable_effect, needed_n
from regrad.statistics.sequential import ALPHA

BY_RANK = REASONS | {
    "for": "by ranks, gains lie beyond 0 in the claimed direction",
    "against": "by ranks, gains lie beyond 0 against the claimed direction",
    "open": "by ranks, gains lie on neither side of 0",
}


@dataclass(frozen=True)
class Judgement:
    """What paired gains (positive: as claimed) say.

    Attributes:
        supports: Two-sided p of a gain, 1 where gains point the other way.
        opposes: Two-sided p of a loss, likewise.
        ties: p of TOST inside ±margin; 1 where it is not asked.
        interval: Of the finite gains; None where there is none.
        detectable: Gain seen with 80 % power at this n and spread; None where undefined.
        needed_n: Pairs for 80 % power to see the gain found, or the margin if that is larger.
        note: Diverged runs in words; empty without any.
    """

    supports: float
    opposes: float
    ties: float
    interval: Interval | None
    detectable: float | None
    needed_n: int | None
    note: str = ""


def judge(pairs: Pairs, margin: float) -> Judgement:
    """Apply the protocol's tests.

    Args:
        pairs: Gains, positive where the claim holds.
        margin: Gain below which a difference does not matter, > 0.
    """
    interval = paired_interval(pairs.finite) if pairs.finite.size else None
    if interval is None or pairs.finite.size < pairs.seeds:
        gains = np.where(np.abs(pairs.gains) > margin, pairs.gains, 0.0)
        counts = f"treatment alone at {pairs.unfavourable} seeds, control alone at {pairs.favourable}"
        return Judgement(
            supports=min(1.0, 2 * rank_p(gains, "greater")),
            opposes=min(1.0, 2 * rank_p(gains, "less")),
            ties=1.0,
            interval=interval,
            detectable=None,
            needed_n=few if (few := fewest_pairs(ALPHA)) > pairs.seeds else None,
            note=f" (no number: {counts}, both at {pairs.both})",
        )
    supports, opposes = two_sided(paired_p(pairs.finite), interval.estimate)
    return Judgement(
        supports=supports,
        opposes=opposes,
        ties=equivalence_p(pairs.finite, margin),
        interval=interval,
        detectable=bounded(detectable_effect(interval.n) * interval.deviation),
        needed_n=pairs_needed(interval, margin),
    )


def beyond_p(pairs: Pairs, margin: float) -> float:
    """Return the one-sided p that gains are below −margin: by the t-test, by ranks where one is infinite."""
    if pairs.finite.size < pairs.seeds:
        return rank_p(pairs.gains, "less", -margin)
    return paired_p(pairs.finite, -margin, "less")


def above_p(pairs: Pairs, margin: float) -> float:
    """Return the one-sided p that gains are above −margin: by the t-test, by ranks where one is infinite."""
    if pairs.finite.size < pairs.seeds:
        return rank_p(pairs.gains, "greater", -margin)
    return paired_p(pairs.finite, -margin, "greater")


def pairs_needed(interval: Interval, margin: float) -> int | None:
    """Return the pairs for 80 % power to see the gain found, or the margin if larger; more than there are."""
    if not interval.deviation > 0:  # one pair (nan) or equal differences: no spread to plan with
        return None
    needed = needed_n(max(abs(interval.estimate), margin) / interval.deviation)
    return None if needed is None else max(needed, interval.n + 1)


def signed_ends(values: np.ndarray, sign: int, level: float) -> tuple[float, float]:
    """Return the ends of the interval of sign · mean at a level."""
    interval = paired_interval(values, level)
    low, high = sorted((sign * interval.low, sign * interval.high))
    return low, high


def sized(outcome: Outcome, gains: np.ndarray, direction: str) -> Outcome:
    """Return an outcome with estimate and interval of the plain difference behind finite gains."""
    sign = -1 if direction == "lower" else 1
    low, high = signed_ends(gains, sign, 0.95)
    return replace(
        outcome,
        estimate=sign * float(gains.mean()),
        low=bounded(low),
        high=bounded(high),
        n=gains.size,
        ends=partial(signed_ends, gains, sign),
    )
