"""The parts of the plan beside the tuned tasks: each varies runs at learning rates that a task's tuning chose.

On the plain network: ``width`` moves the learning rate over three decades around each arm's optimum; ``fractions``
leaves part of the data out; ``spikes`` injects bad batches; ``sensitivity`` moves the constants that a user of each
method must choose. On the tasks that a preset names: ``budget-TASK`` trains shorter and longer; ``adam-TASK`` compares
V0 on Adam with Adam at its own rate and at twice it, and ``adam`` does so on the plain network, at an untuned rate;
``fp16`` runs the plain model in float16, and so, with fewer arms and steps, do ``fp16-resnet`` and ``fp16-rnn``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import JsonValue

from regrad.results import Part, Spec
from regrad.studies.alsdgc.arms import ARMS, CONSTANTS
from regrad.studies.alsdgc.sizes import Sizes
from regrad.studies.grids import FreshSeeds

ADAM_ARMS = ("none", "lr-x2", "V0", "V1", "placebo")
# In float32 V1 is Adam but for its threshold, which the placebo has frozen: a tuned task is spared it.
TUNED_ADAM_ARMS = ("none", "lr-x2", "V0", "placebo")
FP16_ARMS = (*CONSTANTS, "grad_scaler", "V0", "V2", "V4")
# On two more tasks; an LSTM does not run in float16 on a CPU.
HALF_TASKS = ("resnet", "rnn")
HALF_ARMS = ("scale-1", "grad_scaler", "V2", "V3")
BUDGET_ARMS = ("clip-1", "V0", "V4")  # and the best fixed norm
BUDGET_SEEDS = 5
# The constants that a user must choose, moved one at a time from where each arm has them: a cross through the grid of
# initial scales and thresholds, which in float32 is the grid, as a scale of a power of two that is divided out again
# changes no digit. The threshold of V4 (infinite if not given) acts until its warm-up ends.
SETTINGS: dict[str, dict[str, tuple[float, ...]]] = {
    "clip-1": {"max_norm": (0.1, 0.3, 3.0, 10.0)},
    "V0": {"init_threshold": (0.1, 10.0), "init_scale": (2.0**8, 2.0**16)},
    "V4": {"init_threshold": (0.1, 1.0, 10.0), "init_scale": (1.0, 2.0**8)},
}

Bases = Mapping[tuple[str, str], Spec]  # the run of seed 0 of a task and arm
Best = Mapping[str, str | None]  # the best fixed norm of each task, once it is known


def at(base: Spec, seed: int) -> Spec:
    return base.model_copy(update={"seed": seed})


def variant(sizes: Sizes, base: Spec, part: str, tags: dict[str, str] | None = None, **changes: object) -> Spec:
    own = {"part": part, "phase": part} | (tags or {})
    defaults = {"measures": (sizes.test,), "evaluations": sizes.sparse, "tags": base.tags | own}
    return base.model_copy(update=defaults | changes)


def with_options(part: Part, **options: JsonValue) -> Part:
    return Part(name=part.name, options=part.options | options)


def at_rate(base: Spec, factor: float) -> Part:
    return base.optimizer.with_lr(base.optimizer.lr * factor)


def widths(sizes: Sizes, base: Spec) -> list[Spec]:
    rated = partial(variant, sizes, base, "width", measures=())
    return [rated({"multiple": f"{k:g}"}, optimizer=at_rate(base, k)) for k in sizes.multiples]


def fractions(sizes: Sizes, base: Spec) -> list[Spec]:
    less = partial(variant, sizes, base, "fractions")
    return [less({"percent": str(k)}, problem=with_options(base.problem, data_percent=k)) for k in sizes.percents]


def spiked(sizes: Sizes, base: Spec) -> list[Spec]:
    problem = with_options(base.problem, spike_steps=list(sizes.spikes), **sizes.spiked_options)
    steps = sizes.spike_steps
    return [variant(sizes, base, "spikes", problem=problem, steps=steps, evaluations=steps, measures=())]


def settings(sizes: Sizes, base: Spec) -> list[Spec]:
    if not sizes.sensitivity or base.scaler is None:
        return []
    moved = partial(variant, sizes, base, "sensitivity")
    return [
        moved({"setting": f"{option} = {value:g}"}, scaler=with_options(base.scaler, **{option: value}))
        for option, values in SETTINGS.get(base.tags["arm"], {}).items()
        for value in values
    ]


PARTS: dict[str, Callable[[Sizes, Spec], list[Spec]]] = {
    "width": widths,
    "fractions": fractions,
    "spikes": spiked,
    "sensitivity": settings,
}


def beside_plain(sizes: Sizes, bases: Bases, best: str | None, fresh: FreshSeeds) -> list[Spec]:
    """Return the parts that vary the plain network's arms, once the best fixed norm among them is known."""
    # The best norm is the strongest simple rival: leaving it out would flatter ALSDGC.
    followed = {*sizes.followed, best} if best else set()
    return [
        spec
        for (task, arm), base in bases.items()
        if task == "plain" and arm in followed
        for part, vary in PARTS.items()
        for seed in range(fresh(part, arm))
        for spec in vary(sizes, at(base, seed))
    ]


def beside_tasks(sizes: Sizes, bases: Bases, best: Best, fresh: FreshSeeds) -> list[Spec]:
    runs = [spec for task in sizes.budget_tasks for spec in budgets(sizes, bases, (task, best[task]), fresh)]
    for task in sizes.tasks:
        base = bases.get((task, "none"))
        if base and task in sizes.half_tasks:
            runs += half_precision(sizes, base, fresh)
        if base and task in sizes.adam_tasks:
            runs += adam_control(sizes, base, fresh)
    return runs


def budgets(sizes: Sizes, bases: Bases, known: tuple[str, str | None], fresh: FreshSeeds) -> list[Spec]:
    """Return the headline comparison at other lengths, at the learning rates of the usual one: no look is for it."""
    task, best = known
    part, arms = f"budget-{task}", dict.fromkeys((*BUDGET_ARMS, best)) if best else ()
    return [
        variant(sizes, at(base, seed), part, {"budget": f"{k:g}"}, steps=max(1, round(k * base.steps)))
        for arm in arms
        if arm and (base := bases.get((task, arm)))
        for k in sizes.budgets
        for seed in range(min(BUDGET_SEEDS, fresh(part, arm)))
    ]


def adam_control(sizes: Sizes, base: Spec, fresh: FreshSeeds) -> list[Spec]:
    """Return Adam at one learning rate, at twice it, and with scalers at that rate: a task's own or an untuned one."""
    own = base.optimizer.name == "adam"
    part = f"adam-{base.tags['part']}" if own else "adam"
    # Not the scalers' own rates: a tuned rate would make up for whatever V0 multiplies Adam's step by.
    rate = base.optimizer if own else Part(name="adam").with_lr(sizes.adam_rate)
    # What the fresh runs of a task measure, so that Adam's own are those.
    alike: dict[str, Any] = {"measures": base.measures, "evaluations": base.evaluations} if own else {}
    made: Callable[..., Spec] = partial(variant, sizes, part=part, **alike)
    return [
        made(
            at(base, seed), tags={"arm": arm},
            optimizer=rate.with_lr(rate.lr * ARMS[arm].lr_factor), scaler=ARMS[arm].scaler_part(sizes.warmup),
        )
        for arm in (TUNED_ADAM_ARMS if own else ADAM_ARMS)
        for seed in range(fresh(part, arm))
    ]  # fmt: skip


def half_precision(sizes: Sizes, base: Spec, fresh: FreshSeeds) -> list[Spec]:
    """Return the float16 arms at the learning rate of an unscaled fresh-seed run; V0's is its own."""
    task = base.tags["part"]
    part, arms, steps = "fp16", FP16_ARMS, base.steps
    if task in HALF_TASKS:  # float16 is slow on a CPU: two thirds of the steps
        part, arms, steps = f"fp16-{task}", HALF_ARMS, max(1, 2 * base.steps // 3)
    return [
        variant(
            sizes, at(base, seed), part, {"arm": arm},
            precision="fp16", steps=steps, scaler=ARMS[arm].scaler_part(sizes.warmup),
        )
        for arm in arms
        for seed in range(fresh(part, arm))
    ]  # fmt: skip
