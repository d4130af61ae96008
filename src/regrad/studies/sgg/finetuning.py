"""Fine-tuning a pre-trained encoder with and without SGG: all weights, and LoRA of two ranks (C4)."""

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.sgg.parts import SGG, base_part
from regrad.studies.sgg.sizes import EVENTS, Finetuning, Scale

RANKS: dict[str, JsonValue] = {"full": None, "r4": 4, "r8": 8}


def finetuning(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of part ``finetuning`` that can be named given the records so far."""
    task = scale.finetuning
    if task is None:
        return []
    arms = {f"minilm-{mode}{suffix}": mode for mode in task.centers for suffix in ("", SGG)}
    grids = {arm: log_grid(task.centers[mode], task.points, 2.0) for arm, mode in arms.items()}

    def of_task(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(task, arm, lr, seed, phase)

    own = [record for record in records if record.spec.tags["part"] == "finetuning"]
    return tuning_then_fresh(grids, of_task, own, seeds=task.seeds, extensions=scale.extensions)


def make(task: Finetuning, arm: str, lr: float, seed: int, phase: str) -> Spec:
    """Return the spec of one fine-tuning run; the learning rate is chosen by validation loss."""
    mode = arm.removeprefix("minilm-").removesuffix(SGG)
    base = base_part("adamw", lr)
    options: dict[str, JsonValue] = {"base": base.model_dump(), "interval": max(1, task.steps // EVENTS)}
    return Spec(
        problem=Part(name="minilm", options={**task.problem, "rank": RANKS[mode]}),
        optimizer=Part(name="sgg", options=options) if arm.endswith(SGG) else base,
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.0),
        measures=(Part(name="test"),) if phase == "fresh" else (),
        evaluations=2,
        tags={"study": "sgg", "part": "finetuning", "arm": arm, "phase": phase},
    )
