"""ALSDGC against what one would use instead: the printed algorithm (V0), its repairs (V1-V4), and baselines.

Parts, told apart by the tag ``part``. The name of a task (``plain``, ``resnet``, ``rnn``, ``lstm``,
``transformer``, ``translation``): every arm's learning rate is tuned, then it runs on fresh seeds. Beside them,
on the plain network: ``width`` moves the learning rate over three decades around each arm's optimum;
``fractions`` leaves part of the data out; ``spikes`` injects bad batches; ``adam`` compares V0 on Adam at an
untuned learning rate with Adam at that rate and at twice it; ``fp16`` runs the model in float16, and so, with fewer
arms and steps, do ``fp16-resnet`` and ``fp16-rnn``. Preset paper has ImageNet where its images are.
"""

import os
from collections.abc import Iterable

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.alsdgc.sizes import CLIPS, IMAGENET, IMAGENET_VARIABLE, PRESETS, Scale, Task
from regrad.studies.grids import log_grid, tuned, tuning_then_fresh

STUDY = "alsdgc"
MOMENTUM = 0.9
OWN_OPTIMIZER = {"adagc": 5e-3, "lamb": 2e-2}  # whole optimizers, and the middle of their grids
FP16_ARMS = ("scale-1", "scale-128", "scale-1024", "scale-65536", "grad_scaler", "V0", "V2", "V4")
# On two more tasks; an LSTM does not run in float16 on a CPU.
HALF_TASKS = ("resnet", "rnn")
HALF_ARMS = ("scale-1", "grad_scaler", "V2", "V3")


def scaler(arm: str, warmup: int) -> Part | None:
    """Return the loss scaler or clipper of an arm; None for one that has none."""
    name, _, value = arm.partition("-")
    if arm in ("none", *OWN_OPTIMIZER):
        return None
    if arm == "placebo":  # all of the machinery, with scale and threshold where they start
        frozen: dict[str, JsonValue] = {"variant": "V2", "frozen": True}
        return Part(name="alsdgc", options=frozen | {"init_scale": 2.0**16, "init_threshold": 1.0})
    if name in ("V0", "V1", "V2", "V3", "V4"):
        return Part(name="alsdgc", options={"variant": name, "warmup_steps": warmup})
    options: dict[str, dict[str, JsonValue]] = {
        "clip": {"clipper": "fixed", "max_norm": float(value or 1)},
        "grad_scaler": {"loss_scale": "dynamic"},
        "scale": {"loss_scale": float(value or 1)},
        "autoclip": {"clipper": "autoclip", "percent": float(value or 10)},
        "emaclip": {"clipper": "ema", "warmup_steps": warmup},
    } if value != "capped" else {"zclip": {"clipper": "zclip", "capped": True}}  # fmt: skip
    return Part(name="clipped", options=options.get(name) or {"clipper": name})


def center(arm: str, task: Task) -> float:
    """Return the middle of an arm's grid: SGD's steps shrink with clipping and grow with V0's scale."""
    if arm in OWN_OPTIMIZER:
        return OWN_OPTIMIZER[arm]
    factors = {"V0": 1 / 64, "clip-0.1": 8.0, "clip-0.3": 4.0, "clip-1": 2.0, "placebo": 2.0, "autoclip-10": 2.0}
    return task.center * (factors.get(arm, 1.0) if task.optimizer == "sgd" else 1.0)


def optimizer(arm: str, task: Task, lr: float) -> Part:
    """Return the base optimizer of an arm."""
    name = arm if arm in OWN_OPTIMIZER else task.optimizer
    options: dict[str, JsonValue] = {"lr": float(f"{lr:.6g}")}
    return Part(name=name, options=options | ({"momentum": MOMENTUM} if name == "sgd" else {}))


def measures(arm: str, part: str, task: Task) -> tuple[Part, ...]:
    """Return what a fresh-seed run records."""
    losses = Part(name="split_losses" if part in ("plain", "resnet") else "test")
    readings = Part(name="scaler_readings", options={"every": max(1, task.steps // 100)})
    return (losses, readings) if arm[0] == "V" else (losses,)


def make(scale: Scale, part: str, arm: str, lr: float, seed: int, phase: str) -> Spec:
    """Return the spec of one tuning or fresh-seed run of a task."""
    task = scale.tasks[part]
    return Spec(
        problem=task.problem,
        optimizer=optimizer(arm, task, lr),
        scaler=scaler(arm, scale.warmup),
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=measures(arm, part, task) if phase == "fresh" else (),
        evaluations=scale.evaluations,
        tags={"study": STUDY, "part": part, "arm": arm, "phase": phase},
    )


def tuned_part(scale: Scale, part: str, records: list[Record]) -> list[Spec]:
    """Return the tuning and fresh-seed runs of a task that can be named so far."""
    task = scale.tasks[part]
    grids = {arm: log_grid(center(arm, task), scale.points, 2.0) for arm in task.arms}

    def of_part(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(scale, part, arm, lr, seed, phase)

    own = [record for record in records if record.spec.tags["part"] == part]
    return tuning_then_fresh(grids, of_part, own, seeds=scale.seeds, extensions=scale.extensions)


def best_clip(records: Iterable[Record], part: str) -> str | None:
    """Return the fixed norm that tuned best on a task, None before any did."""
    own = [record for record in records if record.spec.tags["part"] == part]
    found = {arm: choice.means[choice.best] for arm, choice in tuned(own).items() if choice.best and arm in CLIPS}
    return min(found, key=lambda arm: found[arm]) if found else None


def changed(fresh: Spec, part: str, problem: dict[str, JsonValue] | None = None, **update: object) -> Spec:
    """Return a fresh-seed run's spec as one of another part."""
    options = fresh.problem.options | (problem or {})
    tags = fresh.tags | {"part": part, "phase": part}
    base = {"problem": Part(name=fresh.problem.name, options=options), "tags": tags, "measures": (Part(name="test"),)}
    return fresh.model_copy(update=base | update)


def widths(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return a fresh-seed run at other learning rates."""
    lr = float(fresh.optimizer.options["lr"])  # type: ignore[arg-type]
    found = []
    for multiple in scale.multiples:
        options = fresh.optimizer.options | {"lr": float(f"{lr * multiple:.6g}")}
        spec = changed(fresh, "width", optimizer=Part(name=fresh.optimizer.name, options=options), measures=())
        found.append(spec.model_copy(update={"tags": spec.tags | {"multiple": f"{multiple:g}"}}))
    return found


def variations(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return a fresh-seed run with less data and with bad batches."""
    spikes: dict[str, JsonValue] = {"spike_steps": list(scale.spikes)}
    update = {"steps": scale.spike_steps, "evaluations": scale.spike_steps, "measures": ()}
    less = [changed(fresh, "fractions", {"data_percent": percent}) for percent in scale.percents]
    tagged = [s.model_copy(update={"tags": s.tags | {"percent": str(s.problem.options["data_percent"])}}) for s in less]
    return [*tagged, changed(fresh, "spikes", spikes, **update)]


def adam_control(scale: Scale, seed: int) -> list[Spec]:
    """Return Adam at one untuned learning rate, at twice it, and under V0, V1 and the placebo."""
    task = scale.tasks["plain"]._replace(optimizer="adam")
    arms = {"none": 1.0, "lr-x2": 2.0, "V0": 1.0, "V1": 1.0, "placebo": 1.0}
    found = []
    for arm, factor in arms.items():
        spec = make(scale, "plain", "none" if arm == "lr-x2" else arm, scale.adam_rate * factor, seed, "fresh")
        spec = changed(spec, "adam", optimizer=optimizer("none", task, scale.adam_rate * factor))
        found.append(spec.model_copy(update={"tags": spec.tags | {"arm": arm}}))
    return found


def half_precision(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return the float16 arms at the learning rate of an unscaled fresh-seed run; V0's is its own."""
    task, found = fresh.tags["part"], []
    arms: tuple[str, ...] = FP16_ARMS
    part, steps = "fp16", fresh.steps
    if task in HALF_TASKS:  # float16 is slow on a CPU: two thirds of the steps
        part, arms, steps = f"fp16-{task}", HALF_ARMS, max(1, 2 * fresh.steps // 3)
    for arm in arms:
        spec = changed(fresh, part, precision="fp16", scaler=scaler(arm, scale.warmup), steps=steps)
        found.append(spec.model_copy(update={"tags": spec.tags | {"arm": arm}}))
    return found


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far.

    ImageNet is among them at preset paper, where ``REGRAD_IMAGENET`` says in which folder its images are.
    """
    scale = PRESETS[preset]
    if preset == "paper" and os.environ.get(IMAGENET_VARIABLE):
        scale = scale._replace(tasks=scale.tasks | {"imagenet": IMAGENET})
    return plan(scale, records)


def plan(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of a study of this scale that can be named given the records so far."""
    found = [spec for part in scale.tasks for spec in tuned_part(scale, part, records)]
    fresh = [s for s in found if (s.tags["part"], s.tags["phase"]) == ("plain", "fresh")]
    if {s.tags["arm"] for s in fresh} >= set(CLIPS):  # every fixed norm is tuned: the best is known
        followed = {"none", "clip-1", "V0", "V4", "placebo", best_clip(records, "plain")}
        for spec in fresh:
            if spec.tags["arm"] in followed:
                found += widths(scale, spec) + variations(scale, spec)
    for spec in fresh:
        if spec.tags["arm"] == "none":
            found += half_precision(scale, spec) + adam_control(scale, spec.seed)
    bare = [s for s in found if (s.tags["phase"], s.tags["arm"]) == ("fresh", "none") and s.tags["part"] in HALF_TASKS]
    return found + [spec for fresh_run in bare for spec in half_precision(scale, fresh_run)]
