"""Monotone in dose: the metric moves rung by rung along a ladder of arms.

The size is the change from the first to the last rung along the least-squares line of each seed, with a
Student-t interval over seeds; Page's test asks for the order. Both must speak for the claim, and no rung may
reverse it by more than the margin. A seed with a diverged run has no line: where there is one, Page's ranks, in
which the diverged run is worst, speak alone for all seeds, and no shortfall is decided.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from regrad.claims.kinds.finding import REASONS, Finding, two_sided
from regrad.claims.kinds.judgement import above_p, beyond_p, falls, pairs_needed, short_p, sized
from regrad.claims.kinds.outcome import INCONCLUSIVE, Outcome, bounded
from regrad.claims.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.claims.schema import Trend
from regrad.statistics.intervals import Interval, holm, paired_interval, paired_p
from regrad.statistics.pairs import Pairs, pair_gains
from regrad.statistics.power import detectable_effect

WORDS = REASONS | {
    "for": "both the line and Page's ranks move in the claimed direction",
    "short": "a change as large as the margin is ruled out",
    "open": "line and ranks do not agree on a direction",
}
RANKS = WORDS | {
    "for": "Page's ranks, diverged runs worst, move in the claimed direction",
    "against": "Page's ranks, diverged runs worst, move against the claim",
    "open": "Page's ranks, diverged runs worst, show no direction",
}


@dataclass(frozen=True)
class Reversal:
    """The step of the ladder that speaks most against the claim, with its p."""

    step: str
    p: float


def trend(test: Trend, rows: Rows) -> list[Finding]:
    """Ask whether the metric moves in the claimed direction along the whole ladder: one comparison."""
    kept = select(rows, test.metric, test.ladder)
    table = by_seed(kept, test.better)
    seeds = shared_seeds(table, test.ladder)
    values = np.array([[table[arm][seed] for arm in test.ladder] for seed in seeds], dtype=np.float64)
    rising = values if test.direction == "higher" else -values
    changes = line_change(rising[np.isfinite(rising).all(axis=1)])
    complete, reversal = changes.size == len(rising), worst_reversal(test, values)
    supports, opposes = line_p(rising, changes) if complete else ranks_p(rising)
    reasons = WORDS if complete else RANKS
    least = None
    if test.monotone:
        step, least = least_kept(test, values)
        if (step_p := min(1.0, 2 * above_p(least, test.margin))) > supports:  # the scale of the p that it joins
            reasons = reasons | {"open": f"the step {step} may reverse the claim by more than the margin"}
            supports = step_p
    if reversal.p < opposes:
        opposes = reversal.p
        reasons = reasons | {"against": f"the step {reversal.step} reverses the claim by more than the margin"}
    outcome = Outcome(
        verdict=INCONCLUSIVE,
        why="",
        comparison=f"change from {test.ladder[0]} to {test.ladder[-1]}",
        arms=test.ladder,
        metric=test.metric,
        unit=test.unit,
        diverged=diverged_runs(kept, test.ladder),
        published=test.published,
    )
    if changes.size:
        outcome = sized(outcome, changes, test.direction)
    if complete:
        interval = paired_interval(changes)
        outcome = replace(
            outcome,
            detectable=bounded(detectable_effect(interval.n) * interval.deviation),
            needed_n=needed_pairs(interval, test.margin, least),
        )
    else:
        outcome = replace(outcome, ends=None)
    found = Finding(outcome, supports, opposes, reasons=reasons)
    if complete:
        short = short_p(changes, test.margin)
        found = replace(found, short=short, falls=partial(falls, changes, test.margin))
    return [found]


def steps(test: Trend, values: np.ndarray) -> dict[str, Pairs]:
    """Return the gains of each step of the ladder, by its name."""
    names = zip(test.ladder, test.ladder[1:], strict=False)
    return {
        f"{first} to {second}": pair_gains(values[:, j + 1], values[:, j], test.direction)
        for j, (first, second) in enumerate(names)
    }


def needed_pairs(interval: Interval, margin: float, least: Pairs | None) -> int | None:
    """Return the pairs that the line needs and, where each step must be kept, the one that is kept least.

    None where no affordable number would be enough. A line below the margin falls short whatever its steps do.
    """
    line = pairs_needed(interval, margin)
    if least is None or line is None or interval.estimate < 0:
        return line
    step = pairs_needed(paired_interval(least.gains + margin), 0.0)
    return None if step is None else max(line, step)


def least_kept(test: Trend, values: np.ndarray) -> tuple[str, Pairs]:
    """Return the step with the largest p; H0: it reverses the claim by the margin or more. All must be kept."""
    return max(steps(test, values).items(), key=lambda step: above_p(step[1], test.margin))


def line_change(values: np.ndarray) -> np.ndarray:
    """Return the change from first to last rung along each row's least-squares line ([n, k] to [n])."""
    rungs = np.arange(values.shape[-1]) - (values.shape[-1] - 1) / 2 if values.size else np.zeros(1)
    return values @ rungs / (rungs @ rungs) * (rungs.size - 1) if values.size else np.zeros(0)


def page_p(rising: np.ndarray) -> float:
    """Return Page's one-sided p-value that values rise along the rungs [n, k]; 1 below two seeds."""
    return float(stats.page_trend_test(rising).pvalue) if len(rising) > 1 else 1.0


def ranks_p(rising: np.ndarray) -> tuple[float, float]:
    """Return both sides of Page's test, two-sided."""
    return min(1.0, 2 * page_p(rising)), min(1.0, 2 * page_p(-rising))


def line_p(rising: np.ndarray, changes: np.ndarray) -> tuple[float, float]:
    """Return the p that line and ranks both support, and that of a line in the other direction."""
    supports, opposes = two_sided(paired_p(changes), float(changes.mean()))
    return max(supports, ranks_p(rising)[0]), opposes


def worst_reversal(test: Trend, values: np.ndarray) -> Reversal:
    """Return the step most against the claim; H0: no step moves against it by more than the margin.

    Holm's correction goes over all steps, infinite or not. Twice the one-sided p, as for every refutation.
    """
    p_values: dict[str, float | None] = {
        name: beyond_p(pairs, test.margin) for name, pairs in steps(test, values).items()
    }
    adjusted = {step: p for step, p in holm(p_values).items() if p is not None}
    step = min(adjusted, key=lambda name: adjusted[name])
    return Reversal(step, min(1.0, 2 * adjusted[step]))
