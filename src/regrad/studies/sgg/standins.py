"""Small stand-ins for preference tuning and image-and-text tuning (C6b, C7b): AdamW, + SGG, and the matched rate."""

from statistics import fmean

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.sgg.parts import CONTROL, SGG, base_part, mean_scale
from regrad.studies.sgg.sizes import EVENTS, Scale, StandIn

PART = "standins"


def standins(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of part ``standins`` that can be named given the records so far."""
    own = [record for record in records if record.spec.tags["part"] == PART]
    found: list[Spec] = []
    for name, task in scale.standins.items():
        grids = {f"{name}{suffix}": log_grid(task.center, task.points, 2.0) for suffix in ("", SGG)}

        def of_task(arm: str, lr: float, seed: int, phase: str, task: StandIn = task) -> Spec:
            return make(task, arm, lr, seed, phase)

        mine = [record for record in own if record.spec.tags["arm"].partition("+")[0] == name]
        planned = tuning_then_fresh(grids, of_task, mine, seeds=task.seeds, extensions=scale.extensions)
        found += planned + matched(task, planned, mine)
    return found


def matched(task: StandIn, planned: list[Spec], records: list[Record]) -> list[Spec]:
    """Return the fresh-seed runs of AdamW at SGG's learning rate times the mean of S in its tuning run."""
    tuning = [r for r in records if r.spec.tags["phase"] == "tune" and SGG in r.spec.tags["arm"]]
    found = []
    for spec in planned:
        arm, lr = spec.tags["arm"], spec.optimizer.lr
        if spec.tags["phase"] == "fresh" and SGG in arm:
            factor = fmean(mean_scale(r) for r in tuning if r.spec.optimizer.lr == lr)
            found.append(make(task, arm.replace(SGG, CONTROL), float(f"{lr * factor:.6g}"), spec.seed, "fresh"))
    return found


def make(task: StandIn, arm: str, lr: float, seed: int, phase: str) -> Spec:
    """Return the spec of one run of a stand-in; the learning rate is chosen by validation loss."""
    interval = max(1, task.steps // EVENTS)
    optimizer, measures = base_part("adamw", lr), [Part(name="test")] if phase == "fresh" else []
    if SGG in arm:
        options: dict[str, JsonValue] = {"base": optimizer.model_dump(), "interval": interval}
        optimizer = Part(name="sgg", options=options)
        measures.append(Part(name="scale_range", options={"every": interval}))
    return Spec(
        problem=task.problem,
        optimizer=optimizer,
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.0),
        measures=tuple(measures),
        evaluations=2,
        tags={"study": "sgg", "part": PART, "arm": arm, "phase": phase},
    )
