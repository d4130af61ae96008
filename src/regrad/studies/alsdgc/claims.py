"""The rows that the claims on ALSDGC are decided from."""

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from regrad.report.outcomes import Outcomes
from regrad.results import Record
from regrad.studies.alsdgc.quantities import (
    best_fixed,
    matched,
    rates_by_seed,
    recovery,
    runs,
    runs_by_seed,
    target,
    tasks,
    time_to,
    width,
)

Row = dict[str, Any]
Runs = tuple[tuple[str, str], ...]  # parts and arms


def row(about: tuple[str, int, str], value: float | None, behind: Runs, *, failed: bool = False) -> Row:
    """Return one row; a value that is not finite is a miss.

    Args:
        about: Name in the ledger, seed, metric.
        value: What was measured.
        behind: Parts and arms of the runs that it was measured on.
        failed: Whether a run diverged.
    """
    arm, seed, metric = about
    kept = None if value is None or not math.isfinite(value) else value
    return {"arm": arm, "seed": seed, "metric": metric, "value": kept, "diverged": failed, "runs": behind}


def ledger_names(outcomes: Outcomes, part: str, task: str) -> list[tuple[str, str]]:
    """Return pairs (name in the ledger, arm): every arm of a part, and the best norm once more as ``best-clip``."""
    arms, best = outcomes.part(part).arms, best_fixed(outcomes, task)
    return [*((arm, arm) for arm in arms), *([("best-clip", best)] if best in arms else [])]


def task_rows(outcomes: Outcomes, task: str) -> list[Row]:
    level, rows = target(outcomes, task), []
    for name, arm in ledger_names(outcomes, task, task):
        for seed, run in runs_by_seed(outcomes, task, arm).items():
            failed = run is None or run.diverged
            end = run.metrics.get("test_loss") if run else None
            ends = {"test_loss": end, "steps_to_target": time_to(run, level)}
            of_arm = ((task, arm),)
            rows += [row((name, seed, f"{m}/{task}"), value, of_arm, failed=failed) for m, value in ends.items()]
    return rows + matched_rows(outcomes, task)


def matched_rows(outcomes: Outcomes, task: str) -> list[Row]:
    """Return test loss at matched training loss: among V0, V4, and the two fixed norms, seed by seed."""
    names = {"V0": "V0", "V4": "V4", "clip-1": "clip-1", "best-clip": best_fixed(outcomes, task)}
    by_arm = {arm: runs_by_seed(outcomes, task, arm) for arm in names.values()}
    rows, behind = [], tuple((task, arm) for arm in by_arm)
    for seed in by_arm["clip-1"]:
        of_seed = {arm: run for arm, by_seed in by_arm.items() if (run := by_seed.get(seed))}
        values = matched(of_seed)
        for name, arm in names.items():
            if arm in of_seed and "train_loss" in of_seed[arm].curves:
                about = (name, seed, f"matched_loss/{task}")
                rows.append(row(about, values.get(arm), behind, failed=of_seed[arm].diverged))
    return rows


def width_rows(outcomes: Outcomes) -> list[Row]:
    rows = []
    for name, arm in ledger_names(outcomes, "width", "plain"):
        behind = (("width", arm), ("plain", arm))
        for seed, over_rates in rates_by_seed(outcomes, arm).items():
            rows.append(row((name, seed, "lr_width/plain"), width(over_rates), behind))
            about = (name, seed, "diverged_on_grid/plain")
            rows += [row(about, None, behind, failed=run.diverged) for run in over_rates]
    return rows


def architecture_rows(outcomes: Outcomes) -> list[Row]:
    """Return the excess over each task's best arm, averaged over tasks; infinite where one of them has no end."""
    floors = {task: lowest_mean(outcomes, task) for task in tasks(outcomes)}
    rows = []
    for name in ("none", "clip-1", "best-clip", "V0", "V4"):
        behind = {task: best_fixed(outcomes, task) if name == "best-clip" else name for task in floors}
        ends = {task: runs(outcomes, task, arm).ends() for task, arm in behind.items()}
        for seed in runs(outcomes, "plain", "clip-1").by_seed:
            # Over each task's floor: losses of different tasks have no common zero.
            excess = [ends[task].get(seed, math.inf) - floor for task, floor in floors.items()]
            about = (name, seed, "architecture_excess")
            rows.append(row(about, fmean(excess), tuple(behind.items()), failed=math.inf in excess))
    return rows


def lowest_mean(outcomes: Outcomes, task: str) -> float:
    """Return the lowest mean test loss that any arm has on a task, over its runs that did not diverge."""
    means = [runs(outcomes, task, arm).mean() for arm in outcomes.part(task).arms]
    return min((mean.estimate for mean in means if mean), default=math.inf)


def data_rows(outcomes: Outcomes) -> list[Row]:
    """Return the penalty of less data: test loss at the smaller shares, averaged, less that at all of the data."""
    rows = []
    for name, arm in ledger_names(outcomes, "fractions", "plain"):
        whole = runs(outcomes, "plain", arm).ends()
        for seed, less in runs(outcomes, "fractions", arm).grouped(lambda run: run.spec.seed).items():
            # A penalty needs both ends: without a loss at all of the data there is nothing to be worse than.
            failed = seed not in whole or less.diverged > 0
            value = None if failed else fmean(run.metrics["test_loss"] for run in less) - whole[seed]
            behind = (("plain", arm), ("fractions", arm))
            rows.append(row((name, seed, "data_penalty/plain"), value, behind, failed=failed))
    return rows


def spike_rows(outcomes: Outcomes) -> list[Row]:
    """Return how long recovery from bad batches takes; a finite run that never recovers has a figure too."""
    return [
        row((name, seed, "recovery_steps/plain"), recovery(run), (("spikes", arm),), failed=not run.finite)
        for name, arm in ledger_names(outcomes, "spikes", "plain")
        for seed, run in runs(outcomes, "spikes", arm).by_seed.items()
    ]


def claim_rows(records: Iterable[Record]) -> list[Row]:
    outcomes = Outcomes(records)
    rows = [one for task in tasks(outcomes) for one in task_rows(outcomes, task)]
    rows += width_rows(outcomes) + architecture_rows(outcomes) + data_rows(outcomes) + spike_rows(outcomes)
    for run in outcomes.part("fp16"):
        arm = run.spec.tags["arm"]
        about = (arm, run.spec.seed, "test_loss/fp16")
        rows.append(row(about, run.metrics.get("test_loss"), (("fp16", arm),), failed=run.diverged))
    return rows
