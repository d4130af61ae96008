"""What the studies' bases reach when they train longer: the competent values of the ledger's tasks.

    export OMP_NUM_THREADS=1
    python benchmarks/competent.py --jobs 2 --out results/reference/benchmarks/competent-cpu.json

Of each task the base that is best on validation data at preset medium trains at its own learning rate, on one of its
fresh seeds, for 2 and 4 times as many steps. The length that is best on validation data says what this class of model
reaches; its value is that on the test data, which chooses nothing. One step that moves nothing says what an untrained
network has. Prints JSON: task, then base, untrained value, and by length steps, validation and test value.
About an hour of one core; the runs are kept in the run store, so that the same call goes on where it was killed.
"""

import argparse
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from regrad.claims.load import load_ledger
from regrad.claims.tasks import Task
from regrad.groups import arm_of
from regrad.pipeline.folders import checkout
from regrad.pipeline.sweep import restore
from regrad.report.benchmarks import write
from regrad.results import Record, Spec
from regrad.runner.ensure import Bench, ensure, finder, whole_groups
from regrad.studies.catalogue import STUDIES

PRESET, SEED, LENGTHS = "medium", 0, (2, 4)
NOTHING = 1e-12  # a learning rate at which no weight moves


class Base(NamedTuple):
    """The run of an arm that a gate of a task asks about, and how its study computes rows."""

    task: Task
    arm: str  # in the ledger's words
    study: str
    run: Record
    records: list[Record]  # the study's, this run among them

    def value(self, record: Record) -> float | None:
        """What the task's metric is of a record, had it been this base's run; None of one that diverged."""
        rows = import_module(f"regrad.studies.{self.study}.claims").claim_rows(
            [record.model_copy(update={"spec": r.spec}) if r is self.run else r for r in self.records]
        )
        values = (row["value"] for row in rows if is_of(row, self.task, self.arm) and row["seed"] == SEED)
        return next((float(f"{value:.5g}") for value in values), None)

    def validation(self, record: Record) -> float:
        """What chooses a length, larger is better: accuracy where that is the metric, else minus the loss."""
        accuracy = "validation_accuracy" if "accuracy" in self.task.metric else ""
        return record.metrics[accuracy] if accuracy in record.metrics else -record.metrics["validation_loss"]


def is_of(row: Any, task: Task, arm: str) -> bool:
    """Whether a row has a value of a task's metric for an arm."""
    return row["metric"] == task.metric and row["arm"] == arm and row["value"] is not None


def bases(bench: Bench, ledger: Path) -> Iterator[Base]:
    """Every base of every task that has run."""
    claims = load_ledger(ledger).claims
    for study in STUDIES:
        if study.plan is None or not any(c.study == study.name and c.requires for c in claims):
            continue
        records = whole_groups(study.plan, PRESET, finder(bench))
        rows = import_module(f"regrad.studies.{study.name}.claims").claim_rows(records)
        asked = {(r.task.name, r.arm): r.task for c in claims if c.study == study.name for r in c.requires}
        for (_, arm), task in asked.items():
            behind = {
                (run, tuple(row.get("tags", {}).items()))
                for row in rows
                if is_of(row, task, arm) and row["seed"] == SEED
                for run in row["runs"]
            }
            for record in records:
                tags = record.spec.tags
                if (
                    tags.get("phase") == "fresh"
                    and record.spec.seed == SEED
                    and any(run == arm_of(record.spec) and set(more) <= tags.items() for run, more in behind)
                ):
                    yield Base(task, arm, study.name, record, records)


def at_length(spec: Spec, times: int) -> Spec:
    """A run for so many times its steps; for none of them, one step that moves nothing."""
    if times:
        return spec.model_copy(update={"steps": times * spec.steps})
    return spec.model_copy(update={"steps": 1, "evaluations": 1, "optimizer": spec.optimizer.with_lr(NOTHING)})


def main() -> None:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    folders = checkout(Path.cwd())
    restore(folders, f"{PRESET}-cpu")
    bench = Bench(folders.runs, folders.cache, "cpu", options.jobs)
    best: dict[str, Base] = {}
    for base in bases(bench, folders.paper / "claims.toml"):
        known = best.setdefault(base.task.name, base)
        if base.validation(base.run) > known.validation(known.run):
            best[base.task.name] = base
    asked = {(name, k): at_length(base.run.spec, k) for name, base in best.items() for k in (0, *LENGTHS)}
    runs = dict(zip(asked, ensure(list(asked.values()), bench, title="other lengths"), strict=True))
    found = {}
    for name, base in best.items():
        lengths = {1: base.run} | {k: runs[name, k] for k in LENGTHS}
        chosen = max(lengths, key=lambda k: base.validation(lengths[k]))
        found[name] = {
            "base": base.arm,
            "study": base.study,
            "untrained": base.value(runs[name, 0]),
            "chosen": chosen,
            "lengths": {
                str(k): {
                    "steps": record.spec.steps,
                    "validation": abs(base.validation(record)),
                    "value": base.value(record),
                }
                for k, record in lengths.items()
            },
        }
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        write(options.out, text + "\n")


if __name__ == "__main__":
    main()
