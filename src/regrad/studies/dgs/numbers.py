"""What the prose cites of the DGS study: records in, texts out."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from regrad.report.style import method
from regrad.report.tables import significant
from regrad.results import Record
from regrad.studies.dgs.rows import (
    MODELS,
    TASKS,
    arms,
    choices,
    ends,
    runs,
    target,
)
from regrad.studies.dgs.tables import gap, interval_text, mean
from regrad.studies.micro_adam.rows import diverged, of_part

NONE = "no number, as every pair has a diverged run"


def numbers(records: Sequence[Record], repaired: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return what the prose cites, by key."""
    first = next(iter(runs(records, "images", "adam", model="resnet20").values()))
    other = next(iter(runs(records, "images", "adam", model="resnet32").values()))
    parts = ("images", "spiking", *TASKS)
    found = {
        "dgs/runs": str(len({r.run_id for r in records})),
        "dgs/diverged": str(sum(diverged(r) for r in {r.run_id: r for r in records}.values())),
        "dgs/seeds": str(len(runs(records, "images", "adam", model="resnet20"))),
        "dgs/data": str(first.spec.problem.options["images"]),
        "dgs/depths": " and ".join(str(r.spec.problem.options["depth"]) for r in (first, other)),
        "dgs/width": str(first.spec.problem.options["width"]),
        "dgs/parameters": f"{first.parameters:,}",
        "dgs/parameters32": f"{other.parameters:,}",
        "dgs/steps": f"{first.spec.steps:,}",
        "dgs/batch": str(first.spec.batch_size),
        "dgs/target": f"{target(records):.2f}",
        "dgs/edges": str(sum(c.edge is not None for p in parts for c in choices(records, p).values())),
        "dgs/repaired-steps": str(repaired[0]["steps"]),
        "dgs/used-difference": significant(
            next(r["largest difference to SGD"] for r in repaired if r["scaling lines"] == "used"), 2
        ),
    }
    return found | spiking(records) | comparisons(records) | geometry(records)


def spiking(records: Sequence[Record]) -> dict[str, str]:
    """Return the size of the spiking networks' runs."""
    spec = next(r.spec for r in of_part(records, "spiking"))
    return {
        "dgs/spiking/steps": str(spec.steps),
        "dgs/spiking/batch": str(spec.batch_size),
        "dgs/spiking/width": str(spec.problem.options["width"]),
        "dgs/spiking/time": str(spec.problem.options.get("time_steps", 4)),
    }


def comparisons(records: Sequence[Record]) -> dict[str, str]:
    """Return accuracies and paired differences of DGS to LARS and Adam."""
    found = {}
    for model in MODELS:
        accuracy = {
            arm: ends(runs(records, "images", arm, model=model), "test_accuracy") for arm in arms(records, "images")
        }
        for arm in ("E1", "S1"):
            for control in ("lars", "adam"):
                text = interval_text(gap(accuracy[arm], accuracy[control]), NONE, 1)
                found[f"dgs/{model}/{arm}-{control}"] = text
        for arm in ("lars", "adam", "E1", "S1"):
            found[f"dgs/{model}/{arm}"] = interval_text(mean(accuracy[arm]), NONE, 1)
        best = {arm: fmean(values.values()) for arm, values in accuracy.items() if values}
        found[f"dgs/{model}/best"] = str(method(max(best, key=lambda arm: best[arm]))["label"]) if best else NONE
    return found


def geometry(records: Sequence[Record]) -> dict[str, str]:
    """Return the measured cosines with the gradient and the slopes of log update on log gradient."""
    found: dict[str, list[float]] = {}
    for record in runs(records, "images", "momentum", model="resnet20").values():
        for name, curve in record.curves.items():
            if name.startswith(("cosine/", "slope/")):
                found.setdefault(name, []).extend(curve.y)
    keys = {"cosine/equation", "cosine/steps", "slope/equation", "slope/steps"}
    return {f"dgs/{key}": f"{fmean(found[key]):.2f}" if found.get(key) else str(math.nan) for key in sorted(keys)}
