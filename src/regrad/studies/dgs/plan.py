"""The comparison that the DGS document describes, with DGS in each of its readings.

Parts, told apart by the tag ``part``: ``images`` tunes every arm on ResNet-20 and runs it on ResNet-20 and
ResNet-32; ``reset`` resets the optimizer in mid-run, by our definitions; ``stability`` moves the learning
rate away from the optimum; ``spiking`` trains spiking networks, where "reset" and "number of spikes" are the
field's own words; ``language``, ``transfer`` and ``own`` are what the abstract names beyond CIFAR.
"""

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.dgs.arms import ARMS, TASKS, arms_in
from regrad.studies.dgs.sizes import NOTCH, PRESETS, Sizes, Task
from regrad.studies.dgs.study import STUDY
from regrad.studies.grids import log_grid, tuning_then_fresh

RESETS = ("soft", "hard")


def specs(preset: str, records: list[Record]) -> list[Spec]:
    return plan(PRESETS[preset], records)


def plan(sizes: Sizes, records: list[Record]) -> list[Spec]:
    beyond = [spec for part in TASKS for spec in compare(sizes, part, sizes.beyond[part], records)]
    return image_runs(sizes, records) + spiking_runs(sizes, records) + beyond


def compare(sizes: Sizes, part: str, task: Task, records: list[Record], *, model: str = "") -> list[Spec]:
    def make(name: str, lr: float, seed: int, phase: str) -> Spec:
        return Spec(
            problem=task.problem,
            optimizer=ARMS[name].part(lr),
            gradient=ARMS[name].gradient,
            steps=task.steps,
            batch_size=task.batch_size,
            seed=seed,
            schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
            measures=measures(sizes, part, name) if phase == "fresh" else (),
            evaluations=sizes.evaluations,
            tags={"study": STUDY.name, "arm": name, "part": part, "model": model or part, "phase": phase},
        )

    grids = {arm.name: log_grid(arm.center, sizes.points, NOTCH) for arm in arms_in(part)}
    own = [record for record in records if record.spec.tags["part"] == part]
    return tuning_then_fresh(grids, make, own, seeds=sizes.seeds, extensions=sizes.extensions)


def measures(sizes: Sizes, part: str, arm: str) -> tuple[Part, ...]:
    extra: tuple[Part, ...] = ()
    if (part, arm) == ("images", "momentum"):  # the gradients of one common optimizer, whatever a reading makes of them
        extra = (Part(name="reading_geometry"),)
    if part == "spiking":
        extra = (Part(name="spikes", options={"examples": sizes.spike_examples}),)
    return (Part(name="test"), *extra)


def image_runs(sizes: Sizes, records: list[Record]) -> list[Spec]:
    first = compare(sizes, "images", sizes.images["resnet20"], records, model="resnet20")
    fresh = [spec for spec in first if spec.tags["phase"] == "fresh"]
    deeper = [on_problem(spec, sizes.images["resnet32"].problem, model="resnet32") for spec in fresh]
    resets = [run for spec in fresh + deeper if takes_part(spec, "reset") for run in reset_runs(spec)]
    others = [run for spec in fresh if takes_part(spec, "stability") for run in stability_runs(sizes, spec)]
    return first + resets + others + deeper


def takes_part(spec: Spec, part: str) -> bool:
    return part in ARMS[spec.tags["arm"]].parts


def on_problem(spec: Spec, problem: Part, **tags: str) -> Spec:
    return spec.model_copy(update={"problem": problem, "tags": spec.tags | tags})


def reset_runs(spec: Spec) -> list[Spec]:
    """Return a fresh run's counterparts with our resets, which bring the same cosine of their own."""
    base = spec.optimizer.model_dump()
    return [
        spec.model_copy(
            update={
                "optimizer": Part(name="resetting", options={"base": base, "reset": reset, "steps": spec.steps}),
                "schedule": Schedule(shape="constant", warmup=0.0),
                "measures": (Part(name="test"),),
                "tags": spec.tags | {"part": "reset", "phase": "reset", "reset": reset},
            }
        )
        for reset in RESETS
    ]


def stability_runs(sizes: Sizes, spec: Spec) -> list[Spec]:
    return [
        spec.model_copy(
            update={
                "optimizer": spec.optimizer.with_lr(spec.optimizer.lr * multiple),
                "measures": (),
                "evaluations": 2,
                "tags": spec.tags | {"part": "stability", "phase": "stability", "multiple": f"{multiple:.3g}"},
            }
        )
        for multiple in sizes.multiples
    ]


def spiking_runs(sizes: Sizes, records: list[Record]) -> list[Spec]:
    """Return the runs of the spiking networks: tuned in the first cell, run in all."""
    first = sizes.spiking["resnet20"]
    task = first._replace(problem=with_reset(first.problem, "soft"))
    runs = compare(sizes, "spiking", task, records, model="resnet20")
    return [spec for spec in runs if spec.tags["phase"] == "tune"] + [
        on_problem(spec, with_reset(sizes.spiking[model].problem, reset), model=model, reset=reset)
        for model, reset in sizes.cells
        for spec in runs
        if spec.tags["phase"] == "fresh"
    ]


def with_reset(problem: Part, reset: str) -> Part:
    return Part(name=problem.name, options={**problem.options, "reset": reset})
