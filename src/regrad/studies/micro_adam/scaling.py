"""Adam's runs at several batch sizes: how E[gbar²] splits into μ² and σ²/B, and what a rule for the rate loses.

A rule η ∝ B^p is anchored at the rate that was tuned at the language task's own B. Its *regret* is its test loss at
another B less that of the rate tuned at that very B, same seed, mean over the other batch sizes: 0 for a rule that
needs no tuning. (Curves that lie close together say less: they also do where a rule is bad everywhere alike.)
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from statistics import fmean
from typing import Any

from regrad.claims.kinds.rows import Rows
from regrad.report.outcomes import Outcomes
from regrad.results import Record
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.micro_adam.arms import ROOT, RULES, Rule, at_batch_size

LEADS = 0.5  # share of E[gbar²] from which on the mean squared leads


def sequence_length(record: Record) -> int:
    return int(str(record.spec.problem.options["sequence_length"]))


def tensors(record: Record) -> list[str]:
    names = [key.removeprefix("split/") for key in record.curves if key.startswith("split/")]
    return [name.removesuffix("/variance") for name in names if name.endswith("/variance")]


def checkpoints(record: Record) -> list[float]:
    return record.curves[f"split/{tensors(record)[0]}/variance"].x


def split(record: Record, batch_size: int, parameter: str | None = None) -> list[float]:
    """Return μ²/(μ² + σ²/B) at each checkpoint of a run, in [0, 1], for any B, from sums over a tensor or over all."""
    names = tensors(record) if parameter is None else [parameter]
    curves = [[record.curves[f"split/{name}/{what}"].y for name in names] for what in ("mean_square", "variance")]
    # Sums over tensors before the ratio: a mean of ratios would weigh a bias like a matrix.
    sums = [[math.fsum(values) for values in zip(*of_tensors, strict=True)] for of_tensors in curves]
    return [share(mean_square, variance, batch_size) for mean_square, variance in zip(*sums, strict=True)]


def share(mean_square: float, variance: float, batch_size: int) -> float:
    """Return μ²/(μ² + σ²/B), 0 where the unbiased estimate of μ² is negative."""
    signal, noise = max(0.0, mean_square), variance / batch_size
    return signal / (signal + noise) if signal + noise > 0 else 0.0


def noise_scale(record: Record, parameter: str) -> float | None:
    """Return the B at which μ² and σ²/B are equal, from sums over the checkpoints; None if μ² is not seen."""
    signal, noise = (math.fsum(record.curves[f"split/{parameter}/{k}"].y) for k in ("mean_square", "variance"))
    return noise / signal if signal > 0 else None


def by_batch_size(outcomes: Outcomes, rule: Rule) -> dict[int, Outcomes]:
    return outcomes.part("scaling").arm(rule.name).grouped(lambda run: run.spec.batch_size)


def shares(outcomes: Outcomes) -> dict[int, float]:
    """Return the mean squared's share of E[gbar²] by batch size: over all tensors, mean over the run and seeds.

    It is measured under η ∝ B^½ and stands for all three rules, so that regrets in a regime are over the same batch
    sizes.
    """
    values = {
        size: [value for run in runs if tensors(run) for value in split(run, size)]
        for size, runs in by_batch_size(outcomes, ROOT).items()
    }
    return {size: fmean(of_size) for size, of_size in values.items() if of_size}


def curve_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Return the points of all scaling curves: validation loss ``at`` so many examples, untrained ones left out.

    A diverged run has a row without a value at every point where the others have one.
    """
    runs, rows = outcomes.part("scaling"), []
    points = sorted({x * run.spec.batch_size for run in runs for x in run.curves["validation_loss"].x if x > 0})
    for run in runs:
        size, curve = run.spec.batch_size, run.curves["validation_loss"]
        values = {} if run.diverged else dict(zip((x * size for x in curve.x), curve.y, strict=True))
        about = {"arm": run.spec.tags["arm"], "seed": run.spec.seed, "batch_size": size, "diverged": run.diverged}
        rows += [about | {"metric": "validation_loss", "at": at, "value": values.get(at)} for at in points]
    return rows


def curve_spread(rows: Rows) -> float | None:
    """Return largest minus smallest value over batch sizes, averaged over points; None below two sizes."""
    points: dict[Any, dict[int, float]] = defaultdict(dict)
    for row in rows:
        points[row["at"]][row["batch_size"]] = math.inf if row["value"] is None else row["value"]
    losses = [list(values.values()) for values in points.values() if len(values) > 1]
    ranges = [math.inf if math.inf in values else max(values) - min(values) for values in losses]
    return math.fsum(ranges) / len(ranges) if ranges else None


def spreads(outcomes: Outcomes, rule: Rule) -> dict[int, float]:
    """Return, by seed, the range of validation loss over batch sizes, averaged over tokens; inf if one diverged."""
    rows = [row for row in curve_rows(outcomes) if row["arm"] == rule.name]
    by_seed = {seed: [row for row in rows if row["seed"] == seed] for seed in sorted({row["seed"] for row in rows})}
    ranges = {seed: curve_spread(points) for seed, points in by_seed.items()}
    return {seed: value for seed, value in ranges.items() if value is not None}


def spread_interval(outcomes: Outcomes, rule: Rule) -> Interval | None:
    """Return the interval of a rule's spread over seeds; None if no seed has a finite one."""
    finite = [value for value in spreads(outcomes, rule).values() if math.isfinite(value)]
    return paired_interval(finite) if finite else None


def tuned_elsewhere(outcomes: Outcomes) -> dict[int, Outcomes]:
    """Return Adam's fresh runs at the rates tuned at each batch size but the task's own."""
    return outcomes.part("batches").fresh.grouped(lambda run: run.spec.batch_size)


def regrets(outcomes: Outcomes, rule: Rule, sizes: Collection[int]) -> dict[int, float]:
    """Return a rule's regret over these batch sizes by seed; inf where a run of it diverged."""
    of_rule, tuned_at = by_batch_size(outcomes, rule), tuned_elsewhere(outcomes)
    # Of a rule that lacks a size, as where its anchor never trained, nothing is known.
    pairs = [(of_rule[size], tuned_at[size]) for size in sizes] if of_rule.keys() >= set(sizes) else []
    seeds = set.intersection(*({*runs.by_seed} & {*tuned.by_seed} for runs, tuned in pairs)) if pairs else set()
    return {seed: fmean(excess(runs, tuned, seed) for runs, tuned in pairs) for seed in sorted(seeds)}


def excess(runs: Outcomes, tuned: Outcomes, seed: int) -> float:
    ends, least = runs.ends(), tuned.ends()
    # A lost run at the tuned rate speaks for no rule: all of them have inf there, and a pair of those says nothing.
    return ends[seed] - least[seed] if seed in ends and seed in least else math.inf


def regret_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Return each rule's regret, over all other batch sizes and where the mean squared leads, and what diverged."""
    sizes, of_size, rows = list(tuned_elsewhere(outcomes)), shares(outcomes), []
    over = {"regret": sizes, "regret_where_mean_leads": [size for size in sizes if of_size.get(size, 0.0) >= LEADS]}
    for rule in RULES.values():
        for metric, kept in over.items():
            runs = (
                ("scaling", rule.name),
                ("scaling", ROOT.name),
                ("language", "adam"),
                *(("batches", at_batch_size(b)) for b in kept),
            )
            about = {"arm": rule.name, "metric": metric, "runs": tuple(dict.fromkeys(runs))}
            rows += [about | reading(seed, value) for seed, value in regrets(outcomes, rule, kept).items()]
        rows += divergence_rows(outcomes.part("scaling").arm(rule.name), rule)
    return rows


def reading(seed: int, value: float) -> dict[str, Any]:
    lost = math.isinf(value)
    return {"seed": seed, "value": None if lost else value, "diverged": lost}


def divergence_rows(runs: Iterable[Record], rule: Rule) -> list[dict[str, Any]]:
    about = {"arm": rule.name, "metric": "diverged_across_batches", "value": None, "runs": (("scaling", rule.name),)}
    return [about | {"seed": run.spec.seed, "diverged": run.diverged} for run in runs]


def regret_interval(outcomes: Outcomes, rule: Rule) -> Interval | None:
    """Return the interval of a rule's regret over seeds; None if no seed has a finite one."""
    every = regrets(outcomes, rule, list(tuned_elsewhere(outcomes)))
    finite = [value for value in every.values() if math.isfinite(value)]
    return paired_interval(finite) if finite else None
