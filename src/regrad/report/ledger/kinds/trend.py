"""Monotone in dose: the metric moves rung by rung along a ladder of arms.

The size is the change from the first to the last rung along the least-squares line of each seed, with a
Student-t interval over seeds; Page's test asks for the order. Both must speak for the claim, and no rung may
reverse it by more than the margin. A seed with a diverged run has no line: it counts in Page's ranks, where
the diverged run is worst, and in the rungs' sign tests.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from regrad.report.ledger.kinds.judgement import pairs_needed
from regrad.report.ledger.kinds.outcome import (
    ALPHA,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Outcome,
    bounded,
    number,
)
from regrad.report.ledger.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.report.ledger.schema import Trend
from regrad.statistics.intervals import Interval, equivalence_p, holm, paired_interval, paired_p
from regrad.statistics.pairs import pair_gains, sign_p
from regrad.statistics.power import detectable_effect


@dataclass(frozen=True)
class Reversal:
    """The step of the ladder that speaks most against the claim, with its p."""

    step: str
    p: float


def trend(test: Trend, rows: Rows) -> Outcome:
    """Decide whether the metric moves in the claimed direction along the whole ladder."""
    kept = select(rows, test.metric, test.ladder)
    table = by_seed(kept, test.better)
    seeds = shared_seeds(table, test.ladder)
    values = np.array([[table[arm][seed] for arm in test.ladder] for seed in seeds], dtype=np.float64)
    rising = values if test.direction == "higher" else -values
    changes = line_change(rising[np.isfinite(rising).all(axis=1)])
    interval = paired_interval(changes) if changes.size else None
    reversal = worst_reversal(test, values)
    verdict, reason, by_p = _decide(test, rising, changes, reversal)
    # The p that is printed, and corrected with the family's, is that of the test which decided.
    p = reversal.p if reversal.p < ALPHA else trend_p(rising, changes)
    size = _size(test, interval)
    comparison = f"from {test.ladder[0]} to {test.ladder[-1]}"
    words = f"[{number(size['low'])}, {number(size['high'])}] {test.unit}, n = {changes.size}"
    return Outcome(
        verdict=verdict,
        why=f"change {comparison}: {number(size['estimate'])} {words}, p = {number(p)}: {reason}",
        comparison=comparison,
        metric=test.metric,
        unit=test.unit,
        n=changes.size,
        p=p,
        by_p=by_p,
        detectable=bounded(detectable_effect(interval.n) * interval.deviation) if interval else None,
        needed_n=pairs_needed(interval, test.margin) if interval and verdict == INCONCLUSIVE else None,
        diverged=diverged_runs(kept, test.ladder),
        published=test.published,
        **size,
    )


def line_change(values: np.ndarray) -> np.ndarray:
    """Return the change from first to last rung along each row's least-squares line ([n, k] to [n])."""
    rungs = np.arange(values.shape[-1]) - (values.shape[-1] - 1) / 2 if values.size else np.zeros(1)
    return values @ rungs / (rungs @ rungs) * (rungs.size - 1) if values.size else np.zeros(0)


def page_p(rising: np.ndarray) -> float:
    """Return Page's one-sided p-value that values rise along the rungs [n, k]; 1 below two seeds."""
    return float(stats.page_trend_test(rising).pvalue) if len(rising) > 1 else 1.0


def trend_p(rising: np.ndarray, changes: np.ndarray) -> float:
    """Return the two-sided p-value that both tests support, the larger of Page's and the t-test's."""
    page = min(1.0, 2 * min(page_p(rising), page_p(-rising)))
    return max(page, paired_p(changes)) if changes.size > 1 else page


def worst_reversal(test: Trend, values: np.ndarray) -> Reversal:
    """Return the step most against the claim; H0: it moves against it by no more than the margin.

    Holm's correction goes over the steps without diverged runs; the others have the sign test's own p.
    """
    finite: dict[str, float | None] = {}
    infinite: dict[str, float | None] = {}
    for j, (first, second) in enumerate(zip(test.ladder, test.ladder[1:], strict=False)):
        pairs = pair_gains(values[:, j + 1], values[:, j], test.direction)
        if pairs.finite.size < pairs.seeds:
            infinite[f"{first} to {second}"] = sign_p(pairs, "less", test.margin)
        else:
            finite[f"{first} to {second}"] = paired_p(pairs.finite, -test.margin, "less")
    # Five seeds of five that diverge give 1/32, which no correction over steps would leave below 5 %.
    adjusted = {step: p for step, p in (holm(finite) | infinite).items() if p is not None}
    step = min(adjusted, key=lambda name: adjusted[name])
    return Reversal(step, adjusted[step])


def _decide(
    test: Trend, rising: np.ndarray, changes: np.ndarray, reversal: Reversal
) -> tuple[str, str, bool]:
    complete = changes.size == len(rising)
    interval = paired_interval(changes) if changes.size > 1 else None
    tie = complete and equivalence_p(changes, test.margin) < ALPHA
    # Page's test is one-sided: half of ALPHA, as against the two-sided t-test beside it.
    for_it = page_p(rising) < ALPHA / 2 and (
        interval is None or (interval.low > 0 and paired_p(changes) < ALPHA)
    )
    if reversal.p < ALPHA:
        return NOT_REPRODUCED, f"the step {reversal.step} reverses the claim by more than the margin", False
    if tie:
        return NOT_REPRODUCED, "a tie: the whole change is equivalent to none within the margin", False
    if for_it:
        return REPRODUCED, "both the line and Page's ranks move in the claimed direction", True
    if complete and interval and interval.high < 0 and paired_p(changes) < ALPHA:
        return NOT_REPRODUCED, "the interval lies beyond 0 against the claimed direction", True
    if not complete and page_p(-rising) < ALPHA:
        return NOT_REPRODUCED, "Page's ranks, diverged runs worst, move against the claim", False
    return INCONCLUSIVE, "line and ranks do not agree on a direction", True


def _size(test: Trend, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"estimate": None, "low": None, "high": None}
    sign = -1 if test.direction == "lower" else 1
    low, high = sorted((sign * interval.low, sign * interval.high))
    return {"estimate": sign * interval.estimate, "low": bounded(low), "high": bounded(high)}
