"""The comparison that the DGS document describes, with DGS in each of its readings.

Arms: E1, E1L, E1T, E4 (the equation), S1, S1T (the four steps), and the optimizers that the document or its
literature compares with. E3 is E1 (a test proves it), E2 is no descent direction, the program is plain SGD.

Parts, told apart by the tag ``part``: ``images`` tunes every arm on ResNet-20 and runs it on ResNet-20 and
ResNet-32; ``reset`` resets the optimizer in mid-run, by our definitions; ``stability`` moves the learning
rate away from the optimum; ``spiking`` trains spiking networks, where "reset" and "number of spikes" are the
field's own words; ``language``, ``transfer`` and ``own`` are what the abstract names beyond CIFAR.
"""

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.dgs.sizes import NOTCH, PRESETS, TASKS, Scale, Task
from regrad.studies.grids import log_grid, tuning_then_fresh

STUDY = "dgs"
READINGS = {
    "E1": "equation",
    "E1L": "equation_per_tensor",
    "E1T": "equation_tensor_norms",
    "E4": "equation_magnitude_rate",
    "S1": "steps",
    "S1T": "steps_per_tensor",
}
# Optimizer, its options, and the middle of its grid on the image task, from a few runs of other seeds.
BASELINES: dict[str, tuple[str, dict[str, JsonValue], float]] = {
    "sgd": ("sgd", {}, 0.5),
    "momentum": ("sgd", {"momentum": 0.9}, 0.1),
    "adam": ("adam", {}, 1e-2),
    "adamw": ("adamw", {"weight_decay": 0.01}, 1e-2),
    "lars": ("lars", {"trust_coefficient": 0.02}, 0.5),
    "sign": ("sign_sgd", {"momentum": 0.0}, 2e-3),
}
CENTERS = {"E1": 3e-3, "E1L": 3e-3, "E1T": 0.05, "E4": 0.02, "S1": 2e-3, "S1T": 0.1}
IMAGE_ARMS = (*BASELINES, *READINGS)
RESET_ARMS = ("adam", "E1", "S1")
STABILITY_ARMS = ("sgd", "adam", "E1", "S1")
SPIKING_ARMS = ("lars", "lars+dgs", "adam", "adam+dgs")
TASK_ARMS = ("momentum", "adam", "E1", "S1")
RESETS = ("soft", "hard")


def optimizer(arm: str, lr: float) -> Part:
    """Return the optimizer of an arm; ``+dgs`` changes its gradient and not itself."""
    if arm in READINGS:
        return Part(name="dgs", options={"lr": lr, "reading": READINGS[arm]})
    name, options, _ = BASELINES[arm.removesuffix("+dgs")]
    return Part(name=name, options={"lr": lr, **options})


def center(arm: str) -> float:
    """Return the middle of an arm's grid."""
    return CENTERS[arm] if arm in CENTERS else BASELINES[arm.removesuffix("+dgs")][2]


def make(scale: Scale, task: Task, arm: str, lr: float, seed: int, **tags: str) -> Spec:
    """Return the spec of one tuning or fresh-seed run."""
    measures: tuple[Part, ...] = (Part(name="test"),) if tags["phase"] == "fresh" else ()
    if tags["phase"] == "fresh" and (tags["part"], arm) == ("images", "momentum"):
        measures += (Part(name="reading_geometry"),)
    if tags["phase"] == "fresh" and tags["part"] == "spiking":
        measures += (Part(name="spikes", options={"examples": scale.spike_examples}),)
    return Spec(
        problem=task.problem,
        optimizer=optimizer(arm, lr),
        gradient=Part(name="dgs_scaled") if arm.endswith("+dgs") else None,
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=measures,
        evaluations=scale.evaluations,
        tags={"study": STUDY, "arm": arm, **tags},
    )


def tuned(scale: Scale, part: str, model: str, task: Task, records: list[Record]) -> list[Spec]:
    """Return the tuning and fresh-seed runs of a part on one model that can be named so far."""
    arms = {"images": IMAGE_ARMS, "spiking": SPIKING_ARMS}.get(part, TASK_ARMS)

    def of_part(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(scale, task, arm, lr, seed, part=part, model=model, phase=phase)

    grids = {arm: log_grid(center(arm), scale.points, NOTCH) for arm in arms}
    own = [record for record in records if record.spec.tags["part"] == part]
    return tuning_then_fresh(grids, of_part, own, seeds=scale.seeds, extensions=scale.extensions)


def retagged(spec: Spec, problem: Part, **tags: str) -> Spec:
    """Return a spec on another problem."""
    return spec.model_copy(update={"problem": problem, "tags": spec.tags | tags})


def reset_runs(spec: Spec) -> list[Spec]:
    """Return a fresh run's counterparts with our resets, which bring the same cosine of their own."""
    return [
        spec.model_copy(
            update={
                "optimizer": Part(
                    name="resetting",
                    options={"base": spec.optimizer.model_dump(), "reset": reset, "steps": spec.steps},
                ),
                "schedule": Schedule(shape="constant", warmup=0.0),
                "measures": (Part(name="test"),),
                "tags": spec.tags | {"part": "reset", "phase": "reset", "reset": reset},
            }
        )
        for reset in RESETS
    ]


def stability(scale: Scale, spec: Spec) -> list[Spec]:
    """Return a fresh run's counterparts at other learning rates."""
    optimum = float(spec.optimizer.options["lr"])  # type: ignore[arg-type]
    return [
        spec.model_copy(
            update={
                "optimizer": optimizer(spec.tags["arm"], float(f"{optimum * multiple:.6g}")),
                "measures": (),
                "evaluations": 2,
                "tags": spec.tags | {"part": "stability", "phase": "stability", "multiple": f"{multiple:.3g}"},
            }
        )
        for multiple in scale.multiples
    ]


def image_runs(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of the parts ``images``, ``reset`` and ``stability``."""
    found = tuned(scale, "images", "resnet20", scale.images["resnet20"], records)
    fresh = [spec for spec in found if spec.tags["phase"] == "fresh"]
    other = [retagged(spec, scale.images["resnet32"].problem, model="resnet32") for spec in fresh]
    for spec in fresh + other:
        found += reset_runs(spec) if spec.tags["arm"] in RESET_ARMS else []
    for spec in fresh:
        found += stability(scale, spec) if spec.tags["arm"] in STABILITY_ARMS else []
    return found + other


def spiking_runs(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of the spiking networks: tuned in the first cell, run in all."""
    first = with_reset(scale.spiking["resnet20"].problem, "soft")
    task = scale.spiking["resnet20"]._replace(problem=first)
    found = tuned(scale, "spiking", "resnet20", task, records)
    fresh = [spec for spec in found if spec.tags["phase"] == "fresh"]
    return [spec for spec in found if spec.tags["phase"] == "tune"] + [
        retagged(spec, with_reset(scale.spiking[model].problem, reset), model=model, reset=reset)
        for model, reset in scale.cells
        for spec in fresh
    ]


def with_reset(problem: Part, reset: str) -> Part:
    """Return a spiking problem with this membrane reset."""
    return Part(name=problem.name, options={**problem.options, "reset": reset})


def plan(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of a study of this scale that can be named given the records so far."""
    found = image_runs(scale, records) + spiking_runs(scale, records)
    for part in TASKS:
        found += tuned(scale, part, part, scale.beyond[part], records)
    return found


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far."""
    return plan(PRESETS[preset], records)
