"""From paired gains to p-values: the rule of the protocol in one place.

*Finite gains.* A paired t-test asks whether the interval of the mean gain lies beyond 0, and another whether it lies
below the margin, which was fixed as what matters: a gain that is significant and demonstrably smaller is none. Of the
two one-sided tests of a tie this is the one that speaks against a claim; the other would only tell a tie from a loss.
So given seeds enough every claim is decided, and a lower gain is never the weaker evidence against one.

*A pair with an infinity.* A run that diverged or missed its target has no number, and gains have no mean. Then one
test speaks for all pairs, the exact signed-rank test with infinite gains ordered. A seed at which both failed counts
as 0, and speaks against no gain either where a shortfall is asked for; gains inside ±margin, which do not matter, count
as 0 as well. It needs six pairs for 5 %, in either direction. The interval then speaks of the finite pairs and decides
nothing.

*More evidence.* The signed-rank p only falls when a gain moves in its direction, to infinity or not, and the t-test's
when all gains do. The two are not one scale: at five seeds a difference that a t-test shows is beyond what ranks can.
"""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from regrad.claims.kinds.finding import REASONS, two_sided
from regrad.claims.kinds.outcome import Outcome, bounded
from regrad.statistics.intervals import Interval, paired_interval, paired_p
from regrad.statistics.pairs import Pairs, fewest_pairs, rank_p
from regrad.statistics.power import detectable_effect, needed_n
from regrad.statistics.sequential import ALPHA

BY_RANK = REASONS | {
    "for": "by ranks, gains lie beyond 0 in the claimed direction",
    "against": "by ranks, gains lie beyond 0 against the claimed direction",
    "short": "by ranks, a gain as large as the margin is ruled out",
    "open": "by ranks, gains lie on neither side of 0",
}
EQUAL = REASONS | {"open": "equal differences, and too few seeds for the sign test"}


@dataclass(frozen=True)
class Judgement:
    """What paired gains (positive: as claimed) say.

    Attributes:
        supports: Two-sided p of a gain, 1 where gains point the other way.
        opposes: Two-sided p of a loss, likewise.
        short: p of a gain below the margin.
        interval: Of the finite gains; None where there is none.
        detectable: Gain seen with 80 % power at this n and spread; None where undefined.
        needed_n: Pairs for 80 % power of a verdict (`pairs_needed`).
        note: Diverged runs in words; empty without any.
        reasons: Words for what decides.
    """

    supports: float
    opposes: float
    short: float
    interval: Interval | None
    detectable: float | None
    needed_n: int | None
    note: str = ""
    reasons: dict[str, str] = field(default_factory=lambda: BY_RANK)


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
            short=min(1.0, 2 * rank_p(pairs.gains_with(math.inf), "less", margin)),
            interval=interval,
            detectable=None,
            needed_n=few if (few := fewest_pairs(ALPHA)) > pairs.seeds else None,
            note=f" (no number: {counts}, both at {pairs.both})",
        )
    supports, opposes = two_sided(paired_p(pairs.finite), interval.estimate)
    return Judgement(
        supports=supports,
        opposes=opposes,
        short=short_p(pairs.finite, margin),
        interval=interval,
        detectable=bounded(detectable_effect(interval.n) * interval.deviation),
        needed_n=pairs_needed(interval, margin),
        reasons=REASONS if interval.deviation else EQUAL,
    )


def short_p(gains: np.ndarray, margin: float) -> float:
    """Return the p of the t-test that gains are below the margin: below α where the interval of level 1 − α is."""
    return min(1.0, 2 * paired_p(gains, margin, "less"))


def falls(gains: np.ndarray, margin: float, level: float) -> str:
    """Return what a shortfall is by the interval of a level: a "loss", a "tie", or "short" of the margin alone."""
    interval = paired_interval(gains, level)
    if interval.high < 0:
        return "loss"
    return "tie" if interval.inside(-margin, margin) else "short"


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
    """Return the pairs for 80 % power to see the gain found, or the margin if that is larger; more than there are.

    Of a loss: to rule out the margin. For a gain between 0 and the margin this is the least that could decide.
    """
    if not interval.deviation > 0:  # one pair (nan) or equal differences: no spread to plan with
        return None
    needed = needed_n(max(interval.estimate, margin, margin - interval.estimate) / interval.deviation)
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
