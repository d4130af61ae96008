"""The rows that the claims on ALSDGC are decided from; ``runs`` names the (part, arm) that a row was computed from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from regrad.report.outcomes import Outcomes
from regrad.results import Record
from regrad.studies.alsdgc.quantities import (
    ARCHITECTURES,
    best_fixed,
    clipping,
    matched,
    rates_by_seed,
    recovery,
    runs,
    runs_by_seed,
    settings_range,
    target,
    tasks,
    time_to,
    width,
)

Row = dict[str, Any]
Runs = tuple[tuple[str, str], ...]
PERCENT = 100.0


def row(about: tuple[str, str, Runs], seed: int, value: float | None, *, failed: bool = False) -> Row:
    """Return one row about an arm, a metric and runs; a value that is not finite is a miss."""
    kept = None if value is None or not math.isfinite(value) else value
    arm, metric, behind = about
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
            for metric, value in ends(run, level).items():
                rows.append(row((name, f"{metric}/{task}", ((task, arm),)), seed, value, failed=failed))
    return rows + matched_rows(outcomes, task)


def ends(run: Record | None, level: float) -> dict[str, float | None]:
    """Return what a task's run says in the end: loss, speed and, where they were taken, accuracy and gap."""
    metrics: Mapping[str, float] = run.metrics if run else {}
    loss = metrics.get("test_loss")
    values = {"test_loss": loss, "steps_to_target": time_to(run, level)}
    if "test_accuracy" in metrics:
        values["test_accuracy"] = PERCENT * metrics["test_accuracy"]
    if "train_loss" in metrics and loss is not None:
        values["generalization_gap"] = loss - metrics["train_loss"]
    return values


def matched_rows(outcomes: Outcomes, task: str) -> list[Row]:
    """Return test loss at matched training loss: among V0, V4, and the two fixed norms, seed by seed."""
    names = {"V0": "V0", "V4": "V4", "clip-1": "clip-1", "best-clip": best_fixed(outcomes, task)}
    by_arm = {arm: runs_by_seed(outcomes, task, arm) for arm in names.values()}
    behind = tuple((task, arm) for arm in by_arm)  # all of them: the level is the highest among them
    rows = []
    for seed in by_arm["clip-1"]:
        of_seed = {arm: run for arm, by_seed in by_arm.items() if (run := by_seed.get(seed))}
        values = matched(of_seed)
        for name, arm in names.items():
            if arm in of_seed and "train_loss" in of_seed[arm].curves:
                about = (name, f"matched_loss/{task}", behind)
                rows.append(row(about, seed, values.get(arm), failed=of_seed[arm].diverged))
    return rows


def width_rows(outcomes: Outcomes) -> list[Row]:
    rows = []
    for name, arm in ledger_names(outcomes, "width", "plain"):
        behind = (("width", arm), ("plain", arm))
        for seed, over_rates in rates_by_seed(outcomes, arm).items():
            rows.append(row((name, "lr_width/plain", behind), seed, width(over_rates)))
            grid = (name, "diverged_on_grid/plain", behind)
            rows += [row(grid, seed, None, failed=run.diverged) for run in over_rates]
    return rows


def architecture_rows(outcomes: Outcomes, over: Sequence[str], suffix: str = "") -> list[Row]:
    """Return the excess over each task's best arm, averaged over tasks; infinite where one of them has no end."""
    floors = {task: lowest_mean(outcomes, task) for task in over}
    rows = []
    for name in ("none", "clip-1", "best-clip", "V0", "V4"):
        arms = {task: best_fixed(outcomes, task) if name == "best-clip" else name for task in floors}
        by_task = {task: runs(outcomes, task, arm).ends() for task, arm in arms.items()}
        about = (name, f"architecture_excess{suffix}", tuple(arms.items()))
        for seed in runs(outcomes, "plain", "clip-1").by_seed:
            # Over each task's floor: losses of different tasks have no common zero.
            excess = [by_task[task].get(seed, math.inf) - floor for task, floor in floors.items()]
            rows.append(row(about, seed, fmean(excess), failed=math.inf in excess))
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
        about = (name, "data_penalty/plain", (("fractions", arm), ("plain", arm)))
        for seed, less in runs(outcomes, "fractions", arm).grouped(lambda run: run.spec.seed).items():
            # A penalty needs both ends: without a loss at all of the data there is nothing to be worse than.
            failed = seed not in whole or less.diverged > 0
            value = None if failed else fmean(run.metrics["test_loss"] for run in less) - whole[seed]
            rows.append(row(about, seed, value, failed=failed))
    return rows


def spike_rows(outcomes: Outcomes) -> list[Row]:
    """Return how long recovery from bad batches takes; infinitely long for a run that never recovers."""
    return [
        row((name, "recovery_steps/plain", (("spikes", arm),)), seed, recovery(run), failed=not run.finite)
        for name, arm in ledger_names(outcomes, "spikes", "plain")
        for seed, run in runs(outcomes, "spikes", arm).by_seed.items()
    ]


def sensitivity_rows(outcomes: Outcomes) -> list[Row]:
    """Return the range of test loss over the constants that a user chooses; clipping's constant is its norm."""
    rows = []
    for arm in outcomes.part("sensitivity").arms:
        about = ("fixed-norm" if clipping(arm) else arm, "init_range/plain", (("sensitivity", arm), ("plain", arm)))
        for seed, value in settings_range(outcomes, arm).items():
            rows.append(row(about, seed, value, failed=value == math.inf))
    return rows


def control_rows(outcomes: Outcomes) -> list[Row]:
    """Return test losses of the parts that compare arms at one learning rate: Adam's, and float16's."""
    parts = [part for part in outcomes.results.values("part") if part == "fp16" or part.startswith("adam")]
    return [
        row((arm, f"test_loss/{part}", ((part, arm),)), seed, run.metrics.get("test_loss"), failed=run.diverged)
        for part in parts
        for arm in outcomes.part(part).arms
        for seed, run in runs(outcomes, part, arm).by_seed.items()
    ]


def claim_rows(records: Iterable[Record]) -> list[Row]:
    outcomes = Outcomes(records)
    present = tasks(outcomes)
    rows = [one for task in present for one in task_rows(outcomes, task)]
    rows += architecture_rows(outcomes, present)
    if set(present) >= set(ARCHITECTURES):
        rows += architecture_rows(outcomes, ARCHITECTURES, f"/{'+'.join(ARCHITECTURES)}")
    rows += width_rows(outcomes) + data_rows(outcomes) + spike_rows(outcomes)
    return rows + sensitivity_rows(outcomes) + control_rows(outcomes)
