"""Every published run: study, arm, phase and run to its curves, its spec, its numbers and its bytes."""

import json
from collections.abc import Mapping
from typing import Any

from regrad.playground.controls import Control
from regrad.playground.explore import View
from regrad.playground.narrowing import Narrowing, arm_in_words, narrowed
from regrad.playground.shelf import Run, Shelf
from regrad.report.palette import BLUE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.results import Record

OTHERS = "#C8C8C8"
SHOWN_TAGS = ("study", "part", "arm", "phase", "rank")


def name_of(record: Record) -> str:
    """Return what tells a run from the others of its arm and phase: rate, seed, and what else its plan varies."""
    spec = record.spec
    further = [f"{key} {value}" for key, value in spec.tags.items() if key not in SHOWN_TAGS]
    varied = [f"B {spec.batch_size}", f"{spec.steps} steps"]
    return ", ".join([f"rate {spec.optimizer.lr:g}", f"seed {spec.seed}", *varied, *further])


def chosen(shelf: Shelf, values: Mapping[str, Any]) -> Narrowing:
    found = narrowed(shelf, values)
    found.by_tag("phase", "fresh")
    found.by_tag("arm")
    run = found.by("run", list(dict.fromkeys(map(name_of, found.outcomes))))
    record = next(r for r in found.outcomes if name_of(r) == run)
    found.by("curve", sorted(record.curves), "validation_loss")
    return found


def controls(shelf: Shelf, values: Mapping[str, Any]) -> Mapping[str, Control]:
    return chosen(shelf, values).choices


def draw(shelf: Shelf, *, run: str, curve: str, **values: str) -> View:
    """Return one run's curve over those of the other runs of its arm, and what it is."""
    outcomes = chosen(shelf, values | {"run": run, "curve": curve}).outcomes
    record = next(r for r in outcomes if name_of(r) == run)
    with canvas(width=PAGE_INCHES, height=2.8) as (figure, axis):
        for other in outcomes:
            if other is not record and curve in other.curves:
                axis.plot(other.curves[curve].x, other.curves[curve].y, color=OTHERS, lw=0.7)
        axis.plot(record.curves[curve].x, record.curves[curve].y, color=BLUE, lw=1.6, marker="o", ms=2.5)
        axis.set(xlabel="optimizer steps", ylabel=curve.replace("_", " "))
        axis.set_title(f"{arm_in_words(record.spec.tags['arm'])}, {run} (grey: the arm's other runs)")
    return View(figure, about(next(r for r in shelf.of(values["study"]) if r.record.run_id == record.run_id)))


def about(run: Run) -> str:
    """Return what a run is, in lines: its name, what it cost, its numbers and its spec."""
    record, went = run.record, run.went
    ended = "diverged" if record.diverged else record.status
    cost = f", {went.seconds:.1f} s, {went.peak_bytes / 1e6:.0f} MB, commit {went.commit}" if went else ""
    lines = [
        f"run {record.run_id}",
        f"{ended}, {record.parameters:,} parameters, {run.size:,} bytes in the file{cost}",
        f"code {record.fingerprint.code}, torch {record.fingerprint.torch}, {record.fingerprint.device}",
        *numbers({name: value for name, value in record.metrics.items() if "/" not in name}),
        json.dumps(record.spec.model_dump(mode="json", exclude={"tags"}), indent=1, ensure_ascii=False),
        *numbers({name: value for name, value in record.metrics.items() if "/" in name}),  # of layers: many
    ]
    return "\n".join(lines)


def numbers(metrics: Mapping[str, float]) -> list[str]:
    """Return a line a number, in columns."""
    wide = max(map(len, metrics), default=0)
    return [f"{name:{wide}}  {value:.6g}" for name, value in sorted(metrics.items())]
