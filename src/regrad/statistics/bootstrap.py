"""Aggregates over tasks and seeds: a bootstrap that resamples seeds within each task, never across tasks.

The one place for a bootstrap here: a single comparison has too few seeds for one and gets a Student-t interval
(``statistics/intervals.py``).
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from scipy import special

from regrad.statistics.intervals import Interval, finite

RESAMPLES = 2_000


@cache
def resampling_weights(sizes: tuple[int, ...], resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return the weight of each value in the aggregate of each resample.

    The aggregate is the mean over tasks of the mean over seeds. Deviations from a task's mean are stretched by
    √(n / (n − 1)), because a resample of n seeds has (n − 1) / n of the variance that its mean should have.

    Args:
        sizes: Seeds of each task, each ≥ 2 [k].
        resamples: Number of resamples, ≥ 1.
        seed: Names the resamples; equal arguments give equal weights.

    Returns:
        Weights [resamples, sum of sizes], read-only; each row adds up to 1.

    Raises:
        ValueError: No task, or a task with fewer than two seeds, whose spread is unknown.
    """
    if not sizes or min(sizes) < 2 or resamples < 1:
        raise ValueError(f"sizes: {list(sizes)}, resamples: {resamples}; allowed: at least 2 seeds a task, >= 1")
    generator = np.random.default_rng(seed)
    parts = []
    for n in sizes:
        drawn = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        parts.append((1 / n + (drawn - 1 / n) * math.sqrt(n / (n - 1))) / len(sizes))
    weights = np.concatenate(parts, axis=1)
    weights.flags.writeable = False  # the cache hands out one array to all
    return weights


def tail_probability(tasks: Sequence[np.ndarray], level: float) -> float:
    """Return how much of the resamples lies beyond each end, such that few seeds widen the interval.

    The normal tail beyond Student's quantile, with Satterthwaite's degrees of freedom of the aggregate.
    """
    variances = np.array([task.var(ddof=1) / task.size for task in tasks])
    if not variances.any():
        return (1 - level) / 2
    freedom = variances.sum() ** 2 / np.sum(variances**2 / [task.size - 1 for task in tasks])
    return float(special.ndtr(-special.stdtrit(freedom, (1 + level) / 2)))


def stratified_interval(
    differences: Mapping[str, Sequence[float]], level: float = 0.95, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the percentile interval of the mean over tasks of the mean paired difference.

    Every task weighs the same, however many seeds it has. Tasks are taken as given: the interval speaks of these
    tasks, not of others.

    Args:
        differences: Task to its paired differences, treatment minus control at one seed, at least 2 a task.
        level: Nominal coverage, in (0, 1).
        resamples: Number of resamples.
        seed: Names the resamples.

    Returns:
        The interval; ``n`` counts all differences, ``deviation`` is that of the aggregate over resamples.

    Raises:
        ValueError: No task, too few seeds, a difference that is not finite, or a level outside (0, 1).

    Source: Efron and Tibshirani 1993, chapters 8 and 13; strata as in Agarwal et al. 2021, "Deep reinforcement
    learning at the edge of the statistical precipice"; ends moved out for few seeds as in Hesterberg 2015, "What
    teachers should know about the bootstrap" (expanded percentiles).
    Departures: the stretch of ``resampling_weights``; the mean instead of the interquartile mean.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; allowed: 0 < level < 1")
    tasks = [finite(values) for values in differences.values()]
    aggregates = resampling_weights(tuple(task.size for task in tasks), resamples, seed) @ np.concatenate(tasks)
    tail = tail_probability(tasks, level)
    low, high = np.quantile(aggregates, [tail, 1 - tail])
    estimate = float(np.mean([task.mean() for task in tasks]))
    n = sum(task.size for task in tasks)
    return Interval(estimate, float(low), float(high), n, level, float(aggregates.std()))
