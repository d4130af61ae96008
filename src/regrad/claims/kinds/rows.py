"""Reads plain rows: {arm, seed, value, diverged, metric?, …}, one fresh-seed run each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Rows = Sequence[Row]


def select(rows: Iterable[Row], metric: str, arms: Iterable[str]) -> list[Row]:
    """Return the rows of these arms with this metric; a row that names no metric has the one asked for."""
    known = set(arms)
    return [row for row in rows if row.get("metric", metric) == metric and row.get("arm") in known]


def reading(row: Row, better: str = "lower") -> float:
    """Return the row's value; the worst there is (±inf) for a diverged run, a miss (None) or a NaN."""
    value = row.get("value")
    # Infinite and not left out: the seeds at which a method fails must not vanish from its comparison.
    if row.get("diverged") or value is None or math.isnan(value):
        return math.inf if better == "lower" else -math.inf
    return float(value)


def by_seed(rows: Iterable[Row], better: str = "lower") -> dict[str, dict[Any, float]]:
    """Return arm → seed → value.

    Raises:
        ValueError: Two rows for one arm and seed.
    """
    table: dict[str, dict[Any, float]] = {}
    for row in rows:
        seeds = table.setdefault(row["arm"], {})
        if row["seed"] in seeds:
            raise ValueError(f"arm {row['arm']!r}, seed {row['seed']!r}: two rows; allowed: one")
        seeds[row["seed"]] = reading(row, better)
    return table


def shared_seeds(table: Mapping[str, Mapping[Any, float]], arms: Iterable[str]) -> list[Any]:
    """Return the seeds that every one of these arms has, sorted."""
    sets = [set(table.get(arm, {})) for arm in arms]
    return sorted(set.intersection(*sets)) if sets else []


def diverged_runs(rows: Iterable[Row], arms: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return how many runs of each arm diverged, arms without any left out."""
    listed = list(rows)
    counts = [(arm, sum(bool(row.get("diverged")) for row in listed if row.get("arm") == arm)) for arm in arms]
    return tuple((arm, count) for arm, count in counts if count)
