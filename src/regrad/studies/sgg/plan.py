"""Whether scaling by gradient groups (SGG) helps, and what it is (C1 to C4, C6b, C7b, C8, C10 to C12).

In the parts ``pretraining``, ``finetuning`` and ``standins`` a base optimizer is tuned alone and, with as many
trials, with SGG around it; then it runs alone at SGG's learning rate times the mean of the scales S in SGG's own
tuning run. The other parts follow from SGG around AdamW at the smallest size: ``variants`` and ``ablations`` change
one thing at its learning rate, ``robustness`` crosses learning rates with batch sizes.
"""

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.sgg.arms import ABLATIONS, COMPARISONS, ROBUSTNESS, SMALLEST, VARIANTS, Comparison, SGGArm
from regrad.studies.sgg.outcomes import SGGOutcomes
from regrad.studies.sgg.sizes import PRESETS, Sizes, Task
from regrad.studies.sgg.study import STUDY

UNDECAYED = ("adamw", "came")  # their own default decays weights; no arm does here


def optimizer(arm: SGGArm, lr: float, interval: int) -> Part:
    options: dict[str, JsonValue] = {"lr": lr}
    if arm.base in UNDECAYED:
        options["weight_decay"] = 0.0
    reclusters: dict[str, JsonValue] = {"interval": max(1, round(interval * arm.intervals))}
    if arm.decay is not None:
        return Part(name="hidden_schedule", options=options | reclusters | {"decay": arm.decay})
    base = Part(name=arm.base, options=options)
    if arm.wrapper:
        return Part(name=arm.wrapper, options={"base": base.model_dump(), **reclusters, **arm.options})
    return base


def make(task: Task, arm: SGGArm, lr: float, seed: int, phase: str) -> Spec:
    interval = task.budget.interval
    measures = [Part(name="test")] if phase == "fresh" else []
    if task.scales and arm.scaled:
        measures.append(Part(name="scale_range", options={"every": interval}))
    return Spec(
        problem=task.problem,
        optimizer=optimizer(arm, lr, interval),
        steps=task.budget.steps,
        batch_size=task.budget.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=task.final),
        measures=tuple(measures),
        evaluations=task.budget.evaluations,
        tags={"study": STUDY.name, "part": arm.part, "arm": arm.name, "phase": phase},
    )


def compared(comparison: Comparison, sizes: Sizes, records: list[Record]) -> list[Spec]:
    """Return the runs of a comparison: both arms tuned alike, then the base at the matched rate."""
    task, arms = sizes.tasks[comparison.name], {arm.name: arm for arm in (comparison.plain, comparison.wrapped)}
    grid = log_grid(task.center, task.budget.points, 2.0)

    def of_task(name: str, lr: float, seed: int, phase: str) -> Spec:
        return make(task, arms[name], lr, seed, phase)

    own = [record for record in records if record.spec.tags["arm"] in arms]
    seeds, extensions = task.budget.seeds, sizes.extensions
    specs = tuning_then_fresh(dict.fromkeys(arms, grid), of_task, own, seeds=seeds, extensions=extensions)
    if comparison.matched is None:
        return specs
    # The factor comes from tuning runs alone: a fresh run must not choose the rate of its own control.
    tuning = SGGOutcomes(own).tuning.arm(comparison.wrapped.name).grouped(lambda record: record.spec.optimizer.lr)
    for spec in fresh(specs, comparison.wrapped):
        factor = tuning[spec.optimizer.lr].mean_scale() or 1.0
        # Six digits, as every rate of a plan: it is part of the run's name.
        rate = float(f"{spec.optimizer.lr * factor:.6g}")
        specs.append(make(task, comparison.matched, rate, spec.seed, "fresh"))
    return specs


def fresh(specs: list[Spec], arm: SGGArm) -> list[Spec]:
    return [spec for spec in specs if (spec.tags["arm"], spec.tags["phase"]) == (arm.name, "fresh")]


def robustness(sizes: Sizes) -> list[Spec]:
    """Return AdamW without and with SGG on the grid of learning rates and batch sizes, at equal tokens."""
    task, specs = sizes.tasks[SMALLEST.name], []
    budget = task.budget
    for batch_size in sizes.batches:
        # Equal examples, not equal steps: else a larger batch would simply see more data.
        steps = max(1, budget.steps * budget.batch_size // batch_size)
        cell = budget._replace(batch_size=batch_size, steps=steps, evaluations=2)
        for lr in sizes.rates:
            for arm in ROBUSTNESS.arms:
                seeds = range(sizes.grid_seeds)
                specs += [make(task._replace(budget=cell, scales=False), arm, lr, seed, "grid") for seed in seeds]
    return specs


def specs(preset: str, records: list[Record]) -> list[Spec]:
    return plan(PRESETS[preset], records)


def plan(sizes: Sizes, records: list[Record]) -> list[Spec]:
    planned = [spec for c in COMPARISONS if c.name in sizes.tasks for spec in compared(c, sizes, records)]
    task = sizes.tasks[SMALLEST.name]
    # At SGG's own rate, untuned: what is asked is what one setting changes, not how good each could get.
    for spec in fresh(planned, SMALLEST.wrapped):
        changed = (*VARIANTS.values(), *ABLATIONS.values())
        planned += [make(task, arm, spec.optimizer.lr, spec.seed, "fresh") for arm in changed]
    return planned + robustness(sizes)
