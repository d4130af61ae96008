"""The rows that the claims on DGS are decided from."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from regrad.report.ledger.load import load
from regrad.report.ledger.schema import Construction
from regrad.results import Record
from regrad.studies.dgs.rows import MODELS, TASKS, arms, cells, factorial, off_optimum, runs, speed


def proofs(ledger: Any, study: str) -> list[str]:
    """Return the tests that the study's claims name as proofs, each once."""
    found = [t.proof for c in load(ledger) if c.study == study for t in c.test if isinstance(t, Construction)]
    return list(dict.fromkeys(found))


def claim_rows(records: Sequence[Record], passed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the claims are decided from: runs, and the proofs that passed."""
    # the tests on runs select by arm and metric, so that a proof needs both
    found = [{**row, "arm": row["proof"], "metric": "proof"} for row in passed]
    for model in MODELS:
        for arm in arms(records, "images"):
            name = f"{arm}@{model}"
            found += of(runs(records, "images", arm, model=model), name, "test_accuracy")
            found += plain(speed(records, arm, model), name, "steps_to_target")
        for arm in arms(records, "reset"):
            for reset in ("soft", "hard"):
                found += of(factorial(records, arm, model, reset), f"{arm}@{model}/{reset}", "test_accuracy")
    for model, reset in cells(records):
        for arm in arms(records, "spiking"):
            ran = runs(records, "spiking", arm, model=model, reset=reset)
            found += of(ran, f"{arm}@{model}/{reset}", "test_accuracy", "spiking_accuracy")
            found += of(ran, f"{arm}@{model}/{reset}", "test_spikes", "spikes")
    for arm in arms(records, "stability"):
        found += plain(off_optimum(records, arm), arm, "off_optimum_loss")
    for task in TASKS:
        metric = "test_loss" if task == "language" else "test_accuracy"
        for arm in arms(records, task):
            found += of(runs(records, task, arm), f"{arm}@{task}", metric)
    return found


def of(found: dict[int, Record], arm: str, metric: str, name: str = "") -> list[dict[str, Any]]:
    """Return the rows of one metric, accuracies in per cent; a run that became non-finite has diverged."""
    factor = 100.0 if metric.endswith("accuracy") else 1.0
    about = {"arm": arm, "metric": name or metric}
    return [
        about
        | {"seed": seed, "diverged": record.diverged}
        | {"value": factor * record.metrics[metric] if metric in record.metrics else None}
        for seed, record in found.items()
    ]


def plain(values: dict[int, float], arm: str, metric: str) -> list[dict[str, Any]]:
    """Return the rows of numbers by seed; an infinite one is a miss or a diverged run."""
    about = {"arm": arm, "metric": metric, "diverged": False}
    return [
        about | {"seed": seed, "value": value if math.isfinite(value) else None} for seed, value in values.items()
    ]
