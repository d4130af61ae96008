"""Tables of the DGS study: records in, data frame out.

The document's own result tables stand beside ours as printed. Source: Logan Mann (IJRASET 2024), section "Results",
tables A and B; read in a scanned copy of the text.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from regrad.claims.tasks import Task
from regrad.report.gates import gate_text, with_gate
from regrad.report.outcomes import Outcomes
from regrad.report.tables import GATE_WORDS, diverged_text, end_text, interval_text, significant, typical
from regrad.report.tuning import rate, tuning_row
from regrad.results import Record
from regrad.statistics.intervals import paired_interval
from regrad.studies.dgs.arms import ARMS, IMAGES, SCALED, SPIKING, TASKS, arms_in
from regrad.studies.dgs.quantities import (
    MODEL_NAMES,
    RESETS,
    SCORES,
    budget_runs,
    budgets,
    image_runs,
    off_optimum,
    reset_runs,
    spiking_cells,
    spiking_runs,
    target,
    tuning_part,
)


class Cell(NamedTuple):
    """One row of a printed table: accuracy in per cent, "# of Spikes (K)"."""

    accuracy: float
    spikes: int


# (baseline of our counterpart, model, reset) -> rows "Baseline" and "DGS"
PRINTED: dict[tuple[str, str, str], tuple[Cell, Cell]] = {
    ("lars", "resnet20", "soft"): (Cell(92.91, 497), Cell(96.05, 492)),
    ("lars", "resnet32", "hard"): (Cell(90.52, 555), Cell(93.57, 563)),
    ("adam", "resnet20", "soft"): (Cell(72.83, 641), Cell(75.2, 634)),
    ("adam", "resnet32", "hard"): (Cell(61.96, 769), Cell(68.03, 759)),
}


NO_TASKS: Mapping[str, Task] = {}


def mean_text(runs: Outcomes, metric: str, digits: int) -> str:
    """Return the mean of one arm's final number with its interval, and how many runs diverged and are not in it."""
    text = end_text(runs, metric, digits)
    return f"{text} ({runs.diverged} div.)" if 0 < runs.diverged < len(runs) else text


def rise_text(rises: Collection[float]) -> str:
    """Return the mean rise over seeds with its interval, and how many lost a run off the optimum and are not in it."""
    kept = [rise for rise in rises if rise < math.inf]
    text = interval_text(paired_interval(kept), "", 2) if kept else ""
    return text + (f" ({len(rises) - len(kept)} div.)" if len(kept) < len(rises) else "")


def images_table(records: Sequence[Record], tasks: Mapping[str, Task] = NO_TASKS) -> pd.DataFrame:
    outcomes = Outcomes(records)
    choices = {model: outcomes.part(tuning_part(outcomes, model)).choices() for model in MODEL_NAMES}
    losses = {model: target(outcomes, model) for model in MODEL_NAMES}
    apart, longest = len(outcomes.part("images32")) > 0, budgets(outcomes)[-1:]
    lines = []
    for arm, choice in choices["resnet20"].items():
        line = {"arm": ARMS[arm].label, "LR": rate(choice.best)}
        for model, name in MODEL_NAMES.items():
            if (tuned := choices[model].get(arm)) and apart and model == "resnet32":
                line["LR 32"] = rate(tuned.best)
            lost = tuned is not None and tuned.best is None
            cells = end_cells(image_runs(outcomes, arm, model), name, losses[model], lost=lost)
            line |= cells if tuned else dict.fromkeys(cells, "")
        line["off optimum"] = rise_text(off_optimum(outcomes, arm).values())
        for steps in longest:
            end = budget_runs(outcomes, arm, steps).mean("test_accuracy")
            line[f"{MODEL_NAMES['resnet20']}, {steps:,} steps"] = interval_text(end, "", 1)
        lines.append(line)
    required = {model: f"adam@{model}" for model in MODEL_NAMES}
    ends = {
        f"{MODEL_NAMES[model]}, % [95 %]": gate_text(tasks[arm], 1) for model, arm in required.items() if arm in tasks
    }
    return with_gate(pd.DataFrame(lines), {"arm": GATE_WORDS} | ends if ends else {})


def end_cells(runs: Outcomes, name: str, loss: float, *, lost: bool) -> dict[str, str]:
    """Return the cells of an arm on one network: accuracy, steps to ``loss``, diverged; ``lost`` in its tuning."""
    return {
        f"{name}, % [95 %]": "diverged" if lost else end_text(runs, "test_accuracy", 1),
        "steps " + name[-2:]: typical(list(runs.steps_to(loss).values())),
        "div. " + name[-2:]: diverged_text(runs),
    }


def reset_table(records: Sequence[Record]) -> pd.DataFrame:
    outcomes = Outcomes(records)
    arms = outcomes.part("reset").arms or [arm.name for arm in arms_in("reset")]
    lines = []
    for model, name in MODEL_NAMES.items():
        for reset in RESETS:
            runs = {arm: reset_runs(outcomes, arm, model, reset) for arm in arms}
            line = {"network": name, "reset": reset}
            for arm, own in runs.items():
                line[ARMS[arm].label] = mean_text(own, "test_accuracy", 1)
            line["steps minus Adam"] = interval_text(runs["S1"].gap(runs["adam"], "test_accuracy"), "", 1)
            lines.append(line)
    return pd.DataFrame(lines)


def spiking_table(records: Sequence[Record], base: str, tasks: Mapping[str, Task] = NO_TASKS) -> pd.DataFrame:
    """Return one of the document's tables with our spiking networks beside its numbers."""
    outcomes = Outcomes(records)
    lines = []
    cells = spiking_cells(outcomes)
    for model, reset in cells:
        printed: tuple[Cell | None, Cell | None] = PRINTED.get((base, model, reset), (None, None))
        for arm, theirs in zip((ARMS[base], SCALED[base]), printed, strict=True):
            runs = spiking_runs(outcomes, arm.name, model, reset)
            lines.append(
                {
                    "network": MODEL_NAMES[model],
                    "reset": reset,
                    "arm": arm.label,
                    "theirs, %": f"{theirs.accuracy:g}" if theirs else "",
                    "theirs, K": str(theirs.spikes) if theirs else "",
                    "ours, % [95 %]": mean_text(runs, "test_accuracy", 1),
                    "ours, K [95 %]": mean_text(runs, "test_spikes", 2),
                }
            )
    required = spiking_task(tasks, base, cells)
    end = {"arm": GATE_WORDS, "ours, % [95 %]": gate_text(required, 1)} if required else {}
    return with_gate(pd.DataFrame(lines), end)


def spiking_task(tasks: Mapping[str, Task], base: str, cells: Iterable[tuple[str, str]]) -> Task | None:
    """Return the task that a base of the spiking networks is required to be competent on; None without."""
    arms = (f"{base}@{model}/{reset}" for model, reset in cells)
    return next((tasks[arm] for arm in arms if arm in tasks), None)


def beyond_table(records: Sequence[Record], tasks: Mapping[str, Task] = NO_TASKS) -> pd.DataFrame:
    outcomes = Outcomes(records)
    lines = []
    for task, score in SCORES.items():
        runs = outcomes.part(task).fresh
        for arm, choice in outcomes.part(task).choices().items():
            own, adam = runs.arm(arm), runs.arm("adam")
            lines.append(
                {
                    "task": score.task,
                    "unit": score.unit,
                    "arm": ARMS[arm].label,
                    "LR": rate(choice.best),
                    "test [95 %]": mean_text(own, score.metric, score.digits),
                    "minus Adam [95 %]": ""
                    if arm == "adam"
                    else interval_text(own.gap(adam, score.metric), "", score.digits),
                }
            )
        if required := tasks.get(f"adam@{task}"):
            lines.append({"task": score.task, "arm": GATE_WORDS, "test [95 %]": gate_text(required, score.digits)})
    return pd.DataFrame(lines).fillna("")


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    outcomes = Outcomes(records)
    return pd.DataFrame(
        {"task": part, "arm": ARMS[arm].label, **tuning_row(choice)}
        for part in (*IMAGES, *SPIKING, *TASKS)
        for arm, choice in outcomes.part(part).choices().items()
    )


def audit_table(failures: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    return pd.DataFrame([{key: failure[key] for key in ("expression", "error", "reason")} for failure in failures])


def repaired_table(variants: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    words = {"printed": "as printed, not read", "removed": "removed", "used": "used, which the program does not do"}
    return pd.DataFrame(
        {
            "scaling lines": words[variant["scaling lines"]],
            "steps": variant["steps"],
            "largest difference to SGD": significant(variant["largest difference to SGD"], 2),
            "bit-identical": "yes" if variant["bit-identical"] else "no",
        }
        for variant in variants
    )


def proofs_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {"proof": row["proof"].partition("::")[2], "passed": "yes" if row["passed"] else "NO"} for row in rows
    )
