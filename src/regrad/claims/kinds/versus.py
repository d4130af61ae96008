"""Paired differences between arms, of one value a run."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from regrad.claims.kinds.finding import Finding
from regrad.claims.kinds.judgement import falls, judge, sized
from regrad.claims.kinds.outcome import INCONCLUSIVE, Outcome
from regrad.claims.kinds.rows import Rows, by_seed, diverged_runs, select, shared_seeds
from regrad.claims.schema import Paired, Rate, arms_of
from regrad.statistics.pairs import pair_gains

Table = Mapping[str, Mapping[Any, float]]


def paired(test: Paired, rows: Rows) -> list[Finding]:
    """Compare every treatment with every control at shared seeds."""
    kept = select(rows, test.metric, arms_of(test))
    table = by_seed(kept, test.better)
    if test.scale == "log10":
        table = {arm: {seed: _log10(value) for seed, value in seeds.items()} for arm, seeds in table.items()}
    return compare(test, table, diverged_runs(kept, arms_of(test)))


def compare(test: Paired | Rate, table: Table, diverged: tuple[tuple[str, int], ...]) -> list[Finding]:
    """Judge each treatment against each control."""
    return [_compare_two(test, table, pair, diverged) for pair in product(test.treatment, test.control)]


def _compare_two(
    test: Paired | Rate, table: Table, pair: tuple[str, str], diverged: tuple[tuple[str, int], ...]
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
    found = Finding(
        outcome,
        judgement.supports,
        judgement.opposes,
        judgement.short,
        note=judgement.note,
        reasons=judgement.reasons,
    )
    return found if judgement.note else replace(found, falls=partial(falls, pairs.finite, test.margin))


def _log10(value: float) -> float:
    if value < 0:
        raise ValueError(f"value {value}; allowed on a log scale: at least 0")
    return math.log10(value) if value > 0 else -math.inf
