"""Paired differences between arms: of one value a run, or of the spread of a seed's values."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from regrad.report.ledger.kinds.finding import REASONS, Finding
from regrad.report.ledger.kinds.judgement import BY_RANK, judge, sized
from regrad.report.ledger.kinds.outcome import INCONCLUSIVE, NOT_TESTED, Outcome, number
from regrad.report.ledger.kinds.rows import Row, Rows, by_seed, diverged_runs, reading, select, shared_seeds
from regrad.report.ledger.schema import Paired, Spread, arms_of
from regrad.statistics.pairs import pair_gains

Table = Mapping[str, Mapping[Any, float]]


def paired(test: Paired, rows: Rows) -> list[Finding]:
    """Compare every treatment with every control at shared seeds."""
    kept = select(rows, test.metric, arms_of(test))
    table = by_seed(kept, test.better)
    if test.scale == "log10":
        table = {arm: {seed: _log10(value) for seed, value in seeds.items()} for arm, seeds in table.items()}
    return compare(test, table, diverged_runs(kept, arms_of(test)))


def spread(test: Spread, rows: Rows) -> Outcome | list[Finding]:
    """Compare spreads over batch sizes, averaged over the points of a curve.

    A row is {arm, seed, batch_size, value, at?}: one point (``at``: tokens) of one curve. A spread needs at
    least two batch sizes; one that a diverged run takes part in is infinite.
    """
    kept = [row for row in select(rows, test.metric, arms_of(test)) if _counts(row, test)]
    table: dict[str, dict[Any, float]] = defaultdict(dict)
    for arm in arms_of(test):
        for seed in {row["seed"] for row in kept if row["arm"] == arm}:
            value = curve_spread([row for row in kept if row["arm"] == arm and row["seed"] == seed])
            if value is not None:
                table[arm][seed] = value
    if not all(table.get(arm) for arm in arms_of(test)):
        regime = f" with {test.where.column} >= {number(test.where.at_least)}" if test.where else ""
        return Outcome(NOT_TESTED, f"an arm has no seed with at least two batch sizes{regime}")
    return compare(test, table, diverged_runs(kept, arms_of(test)))


def curve_spread(rows: Rows) -> float | None:
    """Return largest minus smallest value over batch sizes, averaged over points; None below two sizes."""
    points: dict[Any, dict[Any, float]] = defaultdict(dict)
    for row in rows:
        values = points[row.get("at")]
        if row["batch_size"] in values:  # the same run twice would count as a spread of 0
            where = f"arm {row['arm']!r}, seed {row['seed']!r}, batch size {row['batch_size']}"
            raise ValueError(f"{where}: two rows at one point; allowed: one")
        values[row["batch_size"]] = reading(row)
    spreads = [_range(list(values.values())) for values in points.values() if len(values) > 1]
    return math.fsum(spreads) / len(spreads) if spreads else None


def compare(test: Paired | Spread, table: Table, diverged: tuple[tuple[str, int], ...]) -> list[Finding]:
    """Judge each treatment against each control."""
    return [_compare_two(test, table, pair, diverged) for pair in product(test.treatment, test.control)]


def _compare_two(
    test: Paired | Spread, table: Table, pair: tuple[str, str], diverged: tuple[tuple[str, int], ...]
) -> Finding:
    seeds = shared_seeds(table, pair)
    treatment, control = ([table[arm][seed] for seed in seeds] for arm in pair)
    pairs = pair_gains(treatment, control, test.direction)
    judgement = judge(pairs, test.margin)
    outcome = Outcome(
        verdict=INCONCLUSIVE,
        why="",
        comparison=f"{pair[0]} minus {pair[1]}",
        arms=pair,
        metric=test.metric,
        unit=test.unit,
        detectable=judgement.detectable,
        needed_n=judgement.needed_n,
        diverged=diverged,
        published=test.published,
    )
    if pairs.finite.size:
        outcome = sized(outcome, pairs.finite, test.direction)
    if pairs.finite.size < pairs.seeds:  # the interval leaves out what decided
        outcome = replace(outcome, ends=None)
    return Finding(
        outcome,
        judgement.supports,
        judgement.opposes,
        judgement.ties,
        note=judgement.note,
        reasons=BY_RANK if judgement.note else REASONS,
    )


def _counts(row: Row, test: Spread) -> bool:
    return test.where is None or row.get(test.where.column, -math.inf) >= test.where.at_least


def _range(values: list[float]) -> float:
    return math.inf if any(math.isinf(value) for value in values) else max(values) - min(values)


def _log10(value: float) -> float:
    if value < 0:
        raise ValueError(f"value {value}; allowed on a log scale: at least 0")
    return math.log10(value) if value > 0 else -math.inf
