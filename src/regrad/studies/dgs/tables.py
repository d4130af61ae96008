"""Tables of the DGS study: records in, data frame out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from regrad.report.style import method
from regrad.report.tables import significant
from regrad.results import Record
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.dgs.document import TABLES, Cell
from regrad.studies.dgs.rows import (
    MODEL_NAMES,
    RESETS,
    TASKS,
    arms,
    cells,
    choices,
    differences,
    ends,
    factorial,
    lost,
    off_optimum,
    runs,
    speed,
)
from regrad.studies.micro_adam.tables import interval_text, typical

TASK_NAMES = {"language": "language model", "transfer": "transfer", "own": "own network"}
CENTIMETRES = {"expression": 5.2, "error": 2.0, "reason": 6.6}


def mean(values: Mapping[int, float]) -> Interval | None:
    """Return the interval over seeds, None without a finite run."""
    return paired_interval(list(values.values())) if values else None


def gap(mine: Mapping[int, float], others: Mapping[int, float]) -> Interval | None:
    """Return the interval of the paired difference, None without a shared seed."""
    found = differences(dict(mine), dict(others))
    return paired_interval(found) if found else None


def images_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return each arm's accuracy on both networks, its steps to the target and what a wrong rate costs it."""
    best = choices(records, "images")
    lines = []
    for arm in arms(records, "images"):
        line = {"arm": method(arm)["label"], "LR": significant(best[arm].best or float("nan"), 2)}
        for model, name in MODEL_NAMES.items():
            found = runs(records, "images", arm, model=model)
            line[f"{name}, % [95 %]"] = interval_text(mean(ends(found, "test_accuracy")), "diverged", 1)
            line["steps " + name[-2:]] = typical(list(speed(records, arm, model).values()))
            line["div. " + name[-2:]] = f"{lost(found)}/{len(found)}"
        line["off optimum"] = interval_text(mean(off_optimum(records, arm)), "", 2)
        lines.append(line)
    return pd.DataFrame(lines)


def reset_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the full factorial: accuracy by model and reset of the optimizer, and DGS minus Adam."""
    lines = []
    for model, name in MODEL_NAMES.items():
        for reset in RESETS:
            line = {"network": name, "reset": reset}
            accuracy = {
                arm: ends(factorial(records, arm, model, reset), "test_accuracy") for arm in arms(records, "reset")
            }
            line |= {method(arm)["label"]: interval_text(mean(a), "diverged", 1) for arm, a in accuracy.items()}
            line["S1 minus Adam"] = interval_text(gap(accuracy["S1"], accuracy["adam"]), "", 1)
            lines.append(line)
    return pd.DataFrame(lines)


def spiking_table(records: Sequence[Record], base: str) -> pd.DataFrame:
    """Return one of the document's tables with our spiking networks beside its numbers."""
    lines = []
    for model, reset in cells(records):
        printed: tuple[Cell | None, Cell | None] = TABLES.get((base, model, reset), (None, None))
        for arm, theirs in zip((base, f"{base}+dgs"), printed, strict=True):
            found = runs(records, "spiking", arm, model=model, reset=reset)
            lines.append(
                {
                    "network": MODEL_NAMES[model],
                    "reset": reset,
                    "arm": method(arm)["label"],
                    "theirs, %": f"{theirs.accuracy:g}" if theirs else "",
                    "theirs, K": str(theirs.spikes) if theirs else "",
                    "ours, % [95 %]": interval_text(mean(ends(found, "test_accuracy")), "diverged", 1),
                    "ours, K [95 %]": interval_text(mean(ends(found, "test_spikes")), "diverged", 2),
                }
            )
    return pd.DataFrame(lines)


def beyond_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return what the abstract names beyond CIFAR: loss of the language model, accuracies of the two others."""
    lines = []
    for task in TASKS:
        metric = "test_loss" if task == "language" else "test_accuracy"
        accuracy = {arm: ends(runs(records, task, arm), metric) for arm in arms(records, task)}
        digits = 3 if task == "language" else 1
        for arm, values in accuracy.items():
            lines.append(
                {
                    "task": TASK_NAMES[task],
                    "unit": "nats per byte" if task == "language" else "%",
                    "arm": method(arm)["label"],
                    "LR": significant(choices(records, task)[arm].best or float("nan"), 2),
                    "test [95 %]": interval_text(mean(values), "diverged", digits),
                    "minus Adam [95 %]": interval_text(gap(values, accuracy["adam"]), "", digits)
                    if arm != "adam"
                    else "",
                }
            )
    return pd.DataFrame(lines)


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the tuning of each arm on each task: grid, trials, choice, edge, diverged runs."""
    return pd.DataFrame(
        {
            "task": part,
            "arm": method(arm)["label"],
            "lowest LR": significant(min(choice.means), 2),
            "highest LR": significant(max(choice.means), 2),
            "trials": choice.trials,
            "best LR": significant(choice.best or float("nan"), 2),
            "on edge": choice.edge or "no",
            "div.": sum(choice.diverged.values()),
        }
        for part in ("images", "spiking", *TASKS)
        for arm, choice in ((arm, choices(records, part)[arm]) for arm in arms(records, part))
    )


def audit_table(failures: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Return the places where the program as printed stops."""
    return pd.DataFrame([{key: failure[key] for key in CENTIMETRES} for failure in failures])


def repaired_table(found: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return how far each variant of the repaired program is from plain SGD."""
    words = {"printed": "as printed, not read", "removed": "removed", "used": "used, which the program does not do"}
    return pd.DataFrame(
        {
            "scaling lines": words[row["scaling lines"]],
            "steps": row["steps"],
            "largest difference to SGD": significant(row["largest difference to SGD"], 2),
            "bit-identical": "yes" if row["bit-identical"] else "no",
        }
        for row in found
    )


def proofs_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the proofs and whether they passed, for the notebook."""
    return pd.DataFrame(
        {"proof": row["proof"].partition("::")[2], "passed": "yes" if row["passed"] else "NO"} for row in rows
    )
