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
from functools import partial

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.alsdgc.arms import ARMS, CONSTANTS, NORMS, RUNGS
from regrad.studies.alsdgc.sizes import IMAGENET, IMAGENET_VARIABLE, PRESETS, Sizes, Task
from regrad.studies.alsdgc.study import STUDY
from regrad.studies.grids import log_grid, tuned, tuning_then_fresh

FOLLOWED = ("none", "clip-1", "V0", "V4", "placebo")  # in the parts beside the tasks, with the best fixed norm
ADAM_ARMS = ("none", "lr-x2", "V0", "V1", "placebo")
FP16_ARMS = (*CONSTANTS, "grad_scaler", "V0", "V2", "V4")
# On two more tasks; an LSTM does not run in float16 on a CPU.
HALF_TASKS = ("resnet", "rnn")
HALF_ARMS = ("scale-1", "grad_scaler", "V2", "V3")


def center(name: str, task: Task) -> float:
    arm = ARMS[name]
    return arm.center or task.center * (arm.factor if task.optimizer == "sgd" else 1.0)


def optimizer(name: str, lr: float) -> Part:
    return Part(name=name, options={"momentum": 0.9} if name == "sgd" else {}).with_lr(lr)


def measures(arm: str, part: str, task: Task) -> tuple[Part, ...]:
    losses = Part(name="split_losses" if part in ("plain", "resnet") else "test")
    readings = Part(name="scaler_readings", options={"every": max(1, task.steps // 100)})
    return (losses, readings) if arm in RUNGS else (losses,)


def make(sizes: Sizes, part: str, arm: str, lr: float, seed: int, phase: str) -> Spec:
    task = sizes.tasks[part]
    return Spec(
        problem=task.problem,
        optimizer=optimizer(ARMS[arm].optimizer or task.optimizer, lr),
        scaler=ARMS[arm].scaler_part(sizes.warmup),
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=measures(arm, part, task) if phase == "fresh" else (),
        evaluations=sizes.evaluations,
        tags={"study": STUDY.name, "part": part, "arm": arm, "phase": phase},
    )


def tuned_part(sizes: Sizes, part: str, records: Iterable[Record]) -> list[Spec]:
    task = sizes.tasks[part]
    grids = {arm: log_grid(center(arm, task), sizes.points, 2.0) for arm in task.arms}
    own = [record for record in records if record.spec.tags["part"] == part]
    return tuning_then_fresh(grids, partial(make, sizes, part), own, seeds=sizes.seeds, extensions=sizes.extensions)


def best_norm(records: Iterable[Record], part: str) -> str | None:
    """Return the fixed norm that tuned best on a task, None before any did."""
    choices = tuned([record for record in records if record.spec.tags["part"] == part])
    means = {arm: choice.means[choice.best] for arm, choice in choices.items() if choice.best and arm in NORMS}
    return min(means, key=lambda arm: means[arm]) if means else None


def variant(fresh: Spec, part: str, tags: dict[str, str] | None = None, **changes: object) -> Spec:
    own = {"part": part, "phase": part} | (tags or {})
    defaults = {"measures": (Part(name="test"),), "tags": fresh.tags | own}
    return fresh.model_copy(update=defaults | changes)


def with_options(problem: Part, **options: JsonValue) -> Part:
    return Part(name=problem.name, options=problem.options | options)


def widths(sizes: Sizes, fresh: Spec) -> list[Spec]:
    lr = fresh.optimizer.lr
    return [
        variant(fresh, "width", {"multiple": f"{k:g}"}, optimizer=fresh.optimizer.with_lr(lr * k), measures=())
        for k in sizes.multiples
    ]


def variations(sizes: Sizes, fresh: Spec) -> list[Spec]:
    less = [
        variant(fresh, "fractions", {"percent": str(k)}, problem=with_options(fresh.problem, data_percent=k))
        for k in sizes.percents
    ]
    spiked, steps = with_options(fresh.problem, spike_steps=list(sizes.spikes)), sizes.spike_steps
    return [*less, variant(fresh, "spikes", problem=spiked, steps=steps, evaluations=steps, measures=())]


def adam_control(sizes: Sizes, seed: int) -> list[Spec]:
    """Return Adam at one untuned learning rate, at twice it, and under V0, V1 and the placebo."""
    # Untuned on purpose: a tuned rate would make up for whatever V0 multiplies Adam's step by.
    rates = {arm: sizes.adam_rate * ARMS[arm].lr_factor for arm in ADAM_ARMS}
    return [
        variant(make(sizes, "plain", arm, lr, seed, "fresh"), "adam", optimizer=optimizer("adam", lr))
        for arm, lr in rates.items()
    ]


def half_precision(sizes: Sizes, fresh: Spec) -> list[Spec]:
    """Return the float16 arms at the learning rate of an unscaled fresh-seed run; V0's is its own."""
    task = fresh.tags["part"]
    part, arms, steps = "fp16", FP16_ARMS, fresh.steps
    if task in HALF_TASKS:  # float16 is slow on a CPU: two thirds of the steps
        part, arms, steps = f"fp16-{task}", HALF_ARMS, max(1, 2 * fresh.steps // 3)
    half = partial(variant, fresh, part, precision="fp16", steps=steps)
    return [half({"arm": arm}, scaler=ARMS[arm].scaler_part(sizes.warmup)) for arm in arms]


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far.

    ImageNet is among them at preset paper, where ``REGRAD_IMAGENET`` says in which folder its images are.
    """
    sizes = PRESETS[preset]
    if preset == "paper" and os.environ.get(IMAGENET_VARIABLE):
        sizes = sizes._replace(tasks=sizes.tasks | {"imagenet": IMAGENET})
    return plan(sizes, records)


def plan(sizes: Sizes, records: list[Record]) -> list[Spec]:
    tasks = [spec for part in sizes.tasks for spec in tuned_part(sizes, part, records)]
    fresh = [spec for spec in tasks if spec.tags["phase"] == "fresh"]
    plain = [spec for spec in fresh if spec.tags["part"] == "plain"]
    bare = [spec for spec in fresh if spec.tags["arm"] == "none"]
    beside: list[Spec] = []
    if {spec.tags["arm"] for spec in plain} >= set(NORMS):  # every fixed norm is tuned: the best is known
        # The best norm is the strongest simple rival: leaving it out would flatter ALSDGC.
        followed = {*FOLLOWED, best_norm(records, "plain")}
        for spec in plain:
            if spec.tags["arm"] in followed:
                beside += widths(sizes, spec) + variations(sizes, spec)
    for spec in bare:
        if spec.tags["part"] == "plain":
            beside += half_precision(sizes, spec) + adam_control(sizes, spec.seed)
    return tasks + beside + [run for s in bare if s.tags["part"] in HALF_TASKS for run in half_precision(sizes, s)]
