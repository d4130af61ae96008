"""What the prose cites of the study of ALSDGC: records in, texts out."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from regrad.report.tables import significant
from regrad.results import Record
from regrad.studies.alsdgc.across import numbers as across_tasks
from regrad.studies.alsdgc.rows import (
    arms,
    best_fixed,
    choices,
    diverged,
    fresh,
    of_part,
    recovery,
    target,
    tasks,
    width,
    widths,
)
from regrad.studies.alsdgc.tables import gap, text_of

NO_GAP = "no number, as one of the two diverged at every seed"


def theorem_numbers(curves: Mapping[str, Any]) -> dict[str, str]:
    """Return what the prose cites of the printed rules."""
    found = {"alsdgc/adam-limit": f"{curves['adam_limit']:.1f}", "alsdgc/multiplier": "65{,}536"}
    found["alsdgc/overflow-share"] = f"{100 * fmean(curves['overflow'][10:]):.0f}\\,\\%"
    found["alsdgc/arrival"] = ", ".join(f"{steps:.0f}" for steps in curves["arrival"].values())
    found["alsdgc/rates"] = ", ".join(f"{lr:g}" for lr in curves["arrival"])
    found["alsdgc/clips"] = f"{100 * max(curves['clips'].values()):.0f}\\,\\%"
    return found


def numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites, by key."""
    runs = {record.run_id: record for record in records}
    found = {
        "alsdgc/runs": str(len(runs)),
        "alsdgc/diverged": str(sum(map(diverged, runs.values()))),
        "alsdgc/fresh-seeds": str(len(fresh(records, "none", "plain"))),
        "alsdgc/edges": str(sum(c.edge is not None for t in tasks(records) for c in choices(records, t).values())),
        "alsdgc/arms": str(len(arms(records, "plain"))),
        "alsdgc/adam-lr": f"{of_part(records, 'adam')[0].spec.optimizer.options['lr']:g}",
        "alsdgc/fp16/v0-diverged": share(fresh(records, "V0", "fp16")),
        "alsdgc/fp16/scale-1-gap": text_of(gap(records, "scale-1", "fp16", than="grad_scaler"), NO_GAP),
        "alsdgc/fp16/v4-gap": text_of(gap(records, "V4", "fp16", than="grad_scaler"), NO_GAP),
    }
    for task in ("resnet", "rnn"):
        for arm in ("scale-1", "V2", "V3"):
            half = gap(records, arm, f"fp16-{task}", than="grad_scaler")
            found[f"alsdgc/fp16-{task}/{arm.lower()}"] = text_of(half, NO_GAP)
    for task in tasks(records):
        found |= of_task(records, task)
    for arm in ("V0", "lr-x2", "V1", "placebo"):
        found[f"alsdgc/adam/{arm}"] = text_of(gap(records, arm, "adam", than="none"), NO_GAP)
    for arm in ("none", "clip-1", "V0", "V4"):
        decades = [width(runs) for runs in widths(records, arm).values()]
        found[f"alsdgc/width/{arm}"] = f"{fmean(decades):.2f}" if decades else "no number"
        back = [recovery(run) for run in fresh(records, arm, "spikes") if not run.diverged]
        found[f"alsdgc/recovery/{arm}"] = significant(fmean(back), 3) if back else "no number"
    return found | across_tasks(records)


def of_task(records: Sequence[Record], task: str) -> dict[str, str]:
    """Return what the prose cites of one task."""
    run, best = fresh(records, "none", task)[0], best_fixed(records, task)
    found = {
        "parameters": f"{run.parameters:,}",
        "batch": str(run.spec.batch_size),
        "steps": f"{run.spec.steps:,}",
        "target": f"{target(records, task):.2f}",
        "best-norm": best.removeprefix("clip-"),
        "none-diverged": share(fresh(records, "none", task)),
        "V0-diverged": share(fresh(records, "V0", task)),
        "V0": text_of(gap(records, "V0", task, than=best), NO_GAP),
        "V4": text_of(gap(records, "V4", task, than=best), NO_GAP),
        "V4-none": text_of(gap(records, "V4", task, than="none"), NO_GAP),
        "V4-default": text_of(gap(records, "V4", task, than="clip-1"), NO_GAP),
    }
    return {f"alsdgc/{task}/{name}": text for name, text in found.items()}


def share(runs: Sequence[Record]) -> str:
    """Return how many of how many runs diverged."""
    return f"{sum(map(diverged, runs))} of {len(runs)}"
