"""The rows that the claims on ALSDGC are decided from."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from regrad.results import Record
from regrad.studies.alsdgc.rows import (
    arms,
    best_fixed,
    diverged,
    end_losses,
    fresh,
    matched,
    of_part,
    recovery,
    steps_to,
    target,
    tasks,
    width,
    widths,
)

Row = dict[str, Any]


def row(arm: str, seed: int, metric: str, value: float | None, *, failed: bool = False) -> Row:
    """Return one row; a value that is not finite is a miss."""
    kept = None if value is None or not math.isfinite(value) else value
    return {"arm": arm, "seed": seed, "metric": metric, "value": kept, "diverged": failed}


def named(records: Sequence[Record], part: str, reference: str | None = None) -> list[tuple[str, str]]:
    """Return pairs (name in the ledger, arm): every arm, and the best fixed norm once more as ``best-clip``."""
    found = [(arm, arm) for arm in arms(records, part)]
    best = best_fixed(records, reference or part)
    return [*found, ("best-clip", best)] if best in dict(found) else found


def task_rows(records: Sequence[Record], task: str) -> list[Row]:
    """Return test loss, speed, and test loss at matched training loss on one task."""
    level, found = target(records, task), []
    for name, arm in named(records, task):
        for run in fresh(records, arm, task):
            about = {"failed": diverged(run)}
            found.append(row(name, run.spec.seed, f"test_loss/{task}", run.metrics.get("test_loss"), **about))
            found.append(row(name, run.spec.seed, f"steps_to_target/{task}", steps_to(run, level), **about))
    return found + matched_rows(records, task)


def matched_rows(records: Sequence[Record], task: str) -> list[Row]:
    """Return test loss at matched training loss: among V0, or V4, and the two fixed norms, seed by seed."""
    best = best_fixed(records, task)
    found: dict[tuple[str, int], Row] = {}
    seeds = [run.spec.seed for run in fresh(records, "clip-1", task)]
    for seed in seeds:
        runs = [run for arm in {"V0", "V4", "clip-1", best} for run in fresh(records, arm, task)]
        of_seed = {run.spec.tags["arm"]: run for run in runs if run.spec.seed == seed}
        values = matched(of_seed)
        for name, arm in (("V0", "V0"), ("V4", "V4"), ("clip-1", "clip-1"), ("best-clip", best)):
            if arm in of_seed and "train_loss" in of_seed[arm].curves:
                failed = diverged(of_seed[arm])
                found[name, seed] = row(name, seed, f"matched_loss/{task}", values.get(arm), failed=failed)
    return list(found.values())


def width_rows(records: Sequence[Record]) -> list[Row]:
    """Return the width in decades and the runs of the grid of learning rates."""
    found = []
    for name, arm in named(records, "width", "plain"):
        for seed, runs in widths(records, arm).items():
            found.append(row(name, seed, "lr_width/plain", width(runs)))
            found += [row(name, seed, "diverged_on_grid/plain", None, failed=diverged(run)) for run in runs]
    return found


def robustness_rows(records: Sequence[Record]) -> list[Row]:
    """Return the excess over the best arm, averaged over tasks, and the penalty of less data."""
    found = []
    everywhere = tasks(records)
    floors = {task: floor(records, task) for task in everywhere}
    for name in ("none", "clip-1", "best-clip", "V0", "V4"):
        of_task = {task: dict(named(records, task)).get(name) for task in everywhere}
        ends = {task: end_losses(records, arm, task) if arm else {} for task, arm in of_task.items()}
        for seed in [run.spec.seed for run in fresh(records, "clip-1", "plain")]:
            excess = [ends[task].get(seed, math.inf) - floors[task] for task in everywhere]
            found.append(row(name, seed, "architecture_excess", fmean(excess), failed=math.inf in excess))
    for name, arm in named(records, "fractions", "plain"):
        whole = end_losses(records, arm, "plain")
        parts = fresh(records, arm, "fractions")
        for seed in sorted({run.spec.seed for run in parts}):
            own = [run for run in parts if run.spec.seed == seed]
            failed = seed not in whole or any(map(diverged, own))
            value = None if failed else fmean(run.metrics["test_loss"] for run in own) - whole[seed]
            found.append(row(name, seed, "data_penalty/plain", value, failed=failed))
    return found


def floor(records: Sequence[Record], task: str) -> float:
    """Return the lowest mean test loss that any arm has on a task, over its runs that did not diverge."""
    means = [fmean(ends.values()) for arm in arms(records, task) if (ends := end_losses(records, arm, task))]
    return min(means, default=math.inf)


def spike_rows(records: Sequence[Record]) -> list[Row]:
    """Return how long recovery from bad batches takes."""
    return [
        row(name, run.spec.seed, "recovery_steps/plain", recovery(run), failed=run.diverged)
        for name, arm in named(records, "spikes", "plain")
        for run in fresh(records, arm, "spikes")
    ]


def claim_rows(records: Sequence[Record], passed: Iterable[Row] = ()) -> list[Row]:
    """Return what the claims are decided from: runs, and the proofs that passed."""
    # A row without a metric would count for every metric.
    found = [{"arm": "proof", "metric": "proof"} | dict(one) for one in passed]
    found += [one for task in tasks(records) for one in task_rows(records, task)]
    found += width_rows(records) + robustness_rows(records) + spike_rows(records)
    for run in of_part(records, "fp16"):
        about = (run.spec.tags["arm"], run.spec.seed, "test_loss/fp16", run.metrics.get("test_loss"))
        found.append(row(*about, failed=diverged(run)))
    return found
