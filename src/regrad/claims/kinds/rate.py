"""Divergence rates of two arms, one share a seed: a seed's runs, at rates around an optimum, are not independent."""

from collections import defaultdict
from itertools import product

from regrad.claims.kinds.finding import Finding
from regrad.claims.kinds.outcome import NO_CASE, NOT_TESTED, Outcome
from regrad.claims.kinds.rows import Rows, diverged_runs, select
from regrad.claims.kinds.versus import Table, compare
from regrad.claims.schema import Rate, arms_of


def rate(test: Rate, rows: Rows) -> Outcome | list[Finding]:
    """Compare the shares of diverged runs of every treatment with every control, seed by seed.

    Where no run of a pair diverged nothing was put to the test: neither a tie nor an open question.
    """
    kept = select(rows, test.metric, arms_of(test))
    diverged = diverged_runs(kept, arms_of(test))
    counts = dict(diverged)
    for pair in product(test.treatment, test.control):
        if not any(counts.get(arm) for arm in pair):
            why = f"no run of {pair[0]} or {pair[1]} {NO_CASE}"
            return Outcome(NOT_TESTED, why, arms=pair, metric=test.metric, unit=test.unit)
    return compare(test, shares(kept), diverged)


def shares(rows: Rows) -> Table:
    """Return arm → seed → share of runs that diverged."""
    runs: dict[str, dict[object, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        runs[row["arm"]][row["seed"]].append(bool(row["diverged"]))
    return {arm: {seed: sum(found) / len(found) for seed, found in seeds.items()} for arm, seeds in runs.items()}
