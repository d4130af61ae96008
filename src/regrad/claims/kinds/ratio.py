"""A ratio in a range fixed beforehand: costs, repetition by repetition."""

import math
from itertools import product

import numpy as np

from regrad.claims.kinds.finding import Finding
from regrad.claims.kinds.judgement import pairs_needed
from regrad.claims.kinds.outcome import INCONCLUSIVE, Outcome, bounded
from regrad.claims.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.claims.schema import Ratio, arms_of
from regrad.statistics.intervals import paired_interval, paired_p


def ratio(test: Ratio, rows: Rows) -> list[Finding]:
    """Compare every treatment with every control: does treatment over control lie in the range?

    Repetitions: the geometric mean's 95 % interval inside the range reproduces, outside refutes; as p-values, twice the
    one-sided t-tests of the logarithms against the ends. Configurations (``every``): each ratio must lie inside, and
    low and high are the extremes. A treatment that failed where the control did not has no ratio and forbids
    "reproduced".
    """
    kept = select(rows, test.metric, arms_of(test))
    table, diverged = by_seed(kept), diverged_runs(kept, arms_of(test))
    return [_compare(test, table, pair, diverged) for pair in product(test.treatment, test.control)]


def _compare(test: Ratio, table: dict, pair: tuple[str, str], diverged: tuple[tuple[str, int], ...]) -> Finding:
    seeds = shared_seeds(table, pair)
    both = [(table[pair[0]][seed], table[pair[1]][seed]) for seed in seeds]
    ratios = np.array([a / b for a, b in both if _positive(a, pair[0]) and _positive(b, pair[1])])
    failed = sum(math.isinf(a) and not math.isinf(b) for a, b in both)
    # Configurations are all that there are, not a sample: their extremes bound them, and no interval is estimated.
    low, high = (
        ((ratios.min(), ratios.max()) if test.every else mean_interval(ratios)) if ratios.size else (0, math.inf)
    )
    outcome = Outcome(
        verdict=INCONCLUSIVE,
        why="",
        comparison=f"{pair[0]} over {pair[1]}",
        arms=pair,
        metric=test.metric,
        unit=test.unit,
        estimate=float(np.exp(np.log(ratios).mean())) if ratios.size else None,
        low=bounded(low) if ratios.size else None,
        high=bounded(high) if ratios.size else None,
        n=ratios.size,
        diverged=diverged,
        needed_n=None if test.every or not ratios.size else repetitions_needed(test, np.log(ratios)),
        published=test.published,
        ends=None if test.every or not ratios.size else lambda level: mean_interval(ratios, level),
    )
    inside, outside = _range_p(test, ratios) if ratios.size else (1.0, 1.0)
    return Finding(
        outcome,
        supports=1.0 if failed else inside,
        opposes=outside,
        note=f" (only the treatment failed in {failed} repetitions, which have no ratio)" if failed else "",
        exact=test.every,
        reasons=_reasons(test),
    )


def repetitions_needed(test: Ratio, logs: np.ndarray) -> int | None:
    """Return the repetitions for 80 % power to tell the mean ratio from the range's nearest end; more than there are.

    None where no affordable number would: the mean lies on an end, as far as anybody would measure it.
    """
    nearest = min((math.log(end) for end in test.range if end), key=lambda end: abs(logs.mean() - end))
    return pairs_needed(paired_interval(logs - nearest), 0.0)


def _range_p(test: Ratio, ratios: np.ndarray) -> tuple[float, float]:
    """Return the p that the mean ratio lies inside the range, and that it lies outside."""
    lowest, highest = test.range
    if test.every:
        inside = lowest <= ratios.min() and ratios.max() <= highest
        return float(not inside), float(inside)
    logs = np.log(ratios)
    ends = [(math.log(highest), "less", "greater")] + ([(math.log(lowest), "greater", "less")] if lowest else [])
    inside = max(paired_p(logs, end, within) for end, within, _ in ends)
    outside = min(paired_p(logs, end, beyond) for end, _, beyond in ends)
    return min(1.0, 2 * inside), min(1.0, 2 * outside)


def _reasons(test: Ratio) -> dict[str, str]:
    allowed = f"{test.range[0]:g} to {test.range[1]:g}"
    return {"for": f"inside {allowed}", "against": f"outside {allowed}", "open": f"reaches over the ends of {allowed}"}


def mean_interval(ratios: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the geometric mean of positive ratios [n]; (0, inf) for one."""
    interval = paired_interval(np.log(ratios), level)
    return math.exp(interval.low), math.exp(interval.high)


def _positive(value: float, arm: str) -> bool:
    if value <= 0:
        raise ValueError(f"arm {arm!r}: value {value}; allowed in a ratio: positive numbers")
    return math.isfinite(value)
