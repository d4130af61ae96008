"""A ratio in a range fixed beforehand: costs, repetition by repetition."""

import math
from dataclasses import replace
from itertools import product

import numpy as np

from regrad.report.ledger.kinds.outcome import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Outcome,
    bounded,
    figures,
    gather,
)
from regrad.report.ledger.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.report.ledger.schema import Ratio, arms_of
from regrad.statistics.intervals import paired_interval


def ratio(test: Ratio, rows: Rows) -> Outcome:
    """Decide whether treatment over control lies in the range.

    Repetitions: the geometric mean's 95 % interval inside the range reproduces, outside refutes.
    Configurations (``every``): each ratio must lie inside, and low and high are the extremes. A treatment
    that failed where the control did not has no ratio and forbids "reproduced".
    """
    kept = select(rows, test.metric, arms_of(test))
    table = by_seed(kept)
    outcomes = [_compare(test, table, pair) for pair in product(test.treatment, test.control)]
    return replace(gather(outcomes, "the deciding comparison"), diverged=diverged_runs(kept, arms_of(test)))


def _compare(test: Ratio, table: dict, pair: tuple[str, str]) -> Outcome:
    seeds = shared_seeds(table, pair)
    both = [(table[pair[0]][seed], table[pair[1]][seed]) for seed in seeds]
    ratios = np.array([a / b for a, b in both if _positive(a, pair[0]) and _positive(b, pair[1])])
    failed = sum(math.isinf(a) and not math.isinf(b) for a, b in both)
    outcome = Outcome(INCONCLUSIVE, "", f"{pair[0]} over {pair[1]}", test.metric, test.unit, n=ratios.size)
    outcome = replace(outcome, published=test.published)
    if not ratios.size:
        return replace(outcome, why=f"{outcome.comparison}: no pair in which both runs finished")
    # Configurations are all that there are, not a sample: their extremes bound them, and no interval is estimated.
    low, high = (ratios.min(), ratios.max()) if test.every else mean_interval(ratios)
    verdict, reason = _decide(test, (low, high), failed)
    estimate = float(np.exp(np.log(ratios).mean()))
    outcome = replace(outcome, verdict=verdict, estimate=estimate, low=bounded(low), high=bounded(high))
    return replace(outcome, why=f"{outcome.comparison}: {figures(outcome)}: {reason}")


def mean_interval(ratios: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the geometric mean of positive ratios [n]; (0, inf) for one."""
    interval = paired_interval(np.log(ratios))
    return math.exp(interval.low), math.exp(interval.high)


def _decide(test: Ratio, ends: tuple[float, float], failed: int) -> tuple[str, str]:
    allowed = f"{test.range[0]:g} to {test.range[1]:g}"
    inside = test.range[0] <= ends[0] and ends[1] <= test.range[1]
    # Of configurations one outside is enough; of repetitions the whole interval must lie outside.
    if ends[1] < test.range[0] or ends[0] > test.range[1] or (test.every and not inside):
        return NOT_REPRODUCED, f"outside {allowed}"
    if failed:
        return INCONCLUSIVE, f"only the treatment failed in {failed} repetitions, which have no ratio"
    return (REPRODUCED, f"inside {allowed}") if inside else (INCONCLUSIVE, f"reaches over the ends of {allowed}")


def _positive(value: float, arm: str) -> bool:
    if value <= 0:
        raise ValueError(f"arm {arm!r}: value {value}; allowed in a ratio: positive numbers")
    return math.isfinite(value)
