"""Whether scaling by gradient groups (SGG) helps, and what it is (C1 to C4, C6b, C7b, C8, C10 to C13).

In the parts ``pretraining``, ``finetuning`` and ``standins`` a base optimizer is tuned alone and, with as many
trials, with SGG around it; then it runs alone at SGG's learning rate times the mean of the scales S in SGG's own
tuning run. The other parts follow from SGG around AdamW at the smallest size: ``variants`` and ``ablations`` change
one thing at its learning rate, ``robustness`` crosses learning rates with batch sizes, ``budget`` repeats the
comparison for several times as many steps.

The tag ``rank`` is "0" for AdamW's comparisons in pre-training, "1" for those of other bases and tasks and for the
grid, "2" for variants, ablations, the seeds of later looks and the budget.
"""

from functools import partial

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import FreshSeeds, log_grid, tuning_then_fresh
from regrad.studies.looks import later, specs_in_looks
from regrad.studies.sgg.arms import (
    ABLATIONS,
    COMPARISONS,
    PRETRAINING,
    ROBUSTNESS,
    SMALLEST,
    VARIANTS,
    Comparison,
    SGGArm,
)
from regrad.studies.sgg.outcomes import SGGOutcomes
from regrad.studies.sgg.sizes import PRESETS, Sizes, Task
from regrad.studies.sgg.study import STUDY

HEADLINE = {arm.name for comparison in PRETRAINING["adamw"] for arm in comparison.arms}
UNDECAYED = ("adamw", "came")  # their own default decays weights; no arm does here


def optimizer(arm: SGGArm, lr: float, interval: int, *, beta2: float | None = None) -> Part:
    options: dict[str, JsonValue] = {"lr": lr}
    if arm.base == "adamw" and beta2 is not None:
        options["betas"] = [0.9, beta2]
    if arm.base in UNDECAYED:
        options["weight_decay"] = 0.0
    reclusters: dict[str, JsonValue] = {"interval": max(1, round(interval * arm.intervals))}
    if arm.decay is not None:
        return Part(name="hidden_schedule", options=options | reclusters | {"decay": arm.decay})
    base = Part(name=arm.base, options=options)
    if arm.wrapper:
        return Part(name=arm.wrapper, options={"base": base.model_dump(), **reclusters, **arm.options})
    return base


def rank(arm: SGGArm, seed: int, phase: str) -> str:
    if later(phase, seed) or phase == "budget" or arm.part in ("variants", "ablations"):
        return "2"
    return "0" if arm.name in HEADLINE else "1"


def make(task: Task, arm: SGGArm, lr: float, seed: int, phase: str) -> Spec:
    budget = task.budget
    measures = [task.test] if phase in ("fresh", "budget") else []
    if task.scales and arm.scaled:
        measures.append(Part(name="scale_range", options={"every": budget.interval}))
    part = "budget" if phase == "budget" else arm.part
    return Spec(
        problem=task.problem,
        optimizer=optimizer(arm, lr, budget.interval, beta2=task.beta2),
        steps=budget.steps,
        batch_size=budget.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=task.warmup, final=task.final),
        measures=tuple(measures),
        evaluations=(phase == "tune" and budget.tuning_evaluations) or budget.evaluations,
        tags={"study": STUDY.name, "part": part, "arm": arm.name, "phase": phase, "rank": rank(arm, seed, phase)},
    )


def compared(comparison: Comparison, sizes: Sizes, records: list[Record], seeds: FreshSeeds) -> list[Spec]:
    """Return the runs of a comparison: both arms tuned alike, then the base at the matched rate."""
    task, arms = sizes.tasks[comparison.name], {arm.name: arm for arm in (comparison.plain, comparison.wrapped)}
    grid = log_grid(task.center, task.budget.points, 2.0)

    def of_task(name: str, lr: float, seed: int, phase: str) -> Spec:
        return make(task, arms[name], lr, seed, phase)

    own = [record for record in records if record.spec.tags["arm"] in arms]
    both = (task.budget.tuning_seeds, partial(seeds, comparison.plain.part))
    specs = tuning_then_fresh(dict.fromkeys(arms, grid), of_task, own, seeds=both, extensions=sizes.extensions)
    if comparison.matched is None:
        return specs
    if (found := chosen(specs, comparison.wrapped)) is None:
        return specs
    # The factor comes from tuning runs alone: a fresh run must not choose the rate of its own control.
    tuning = SGGOutcomes(own).tuning.arm(comparison.wrapped.name).grouped(lambda record: record.spec.optimizer.lr)
    # Six digits, as every rate of a plan: it is part of the run's name.
    rate = float(f"{found * (tuning[found].mean_scale() or 1.0):.6g}")
    matched = comparison.matched
    return specs + [make(task, matched, rate, seed, "fresh") for seed in range(seeds(matched.part, matched.name))]


def chosen(specs: list[Spec], arm: SGGArm) -> float | None:
    """Return the learning rate of an arm's fresh runs; None while there are none."""
    rates = (s.optimizer.lr for s in specs if (s.tags["arm"], s.tags["phase"]) == (arm.name, "fresh"))
    return next(rates, None)


def robustness(sizes: Sizes, seeds: FreshSeeds) -> list[Spec]:
    """Return AdamW without and with SGG on the grid of learning rates and batch sizes, at equal tokens."""
    task, specs = sizes.tasks[SMALLEST.name], []
    budget = task.budget
    for batch_size in sizes.batches:
        # Equal examples, not equal steps: else a larger batch would simply see more data.
        steps = max(1, (sizes.grid_steps or budget.steps) * budget.batch_size // batch_size)
        cell = task._replace(budget=budget._replace(batch_size=batch_size, steps=steps, evaluations=2), scales=False)
        for lr in sizes.rates:
            for arm in ROBUSTNESS.arms:
                count = sizes.grid_seeds or seeds(arm.part, arm.name)
                specs += [make(cell, arm, lr, seed, "grid") for seed in range(count)]
    return specs


def longer(sizes: Sizes, planned: list[Spec]) -> list[Spec]:
    """Return AdamW's comparison at the smallest size, at its rates, with more steps between as many reclusters."""
    # As many, so that S and with it the matched rate are those of the shorter runs.
    task, found = sizes.tasks[SMALLEST.name], []
    task = task._replace(budget=task.budget._replace(steps=task.budget.steps * sizes.budget))
    for arm in SMALLEST.arms if sizes.budget else ():
        if (rate := chosen(planned, arm)) is not None:
            found += [make(task, arm, rate, seed, "budget") for seed in range(sizes.budget_seeds)]
    return found


def specs(preset: str, records: list[Record]) -> list[Spec]:
    from regrad.studies.sgg.claims import claim_rows  # here, since a plan needs no scipy

    sizes = PRESETS[preset]
    return specs_in_looks(
        STUDY.name, preset, records, plan=partial(plan, sizes), claim_rows=claim_rows, seeds=sizes.fresh_seeds
    )


def plan(sizes: Sizes, records: list[Record], seeds: FreshSeeds) -> list[Spec]:
    planned = [spec for c in COMPARISONS if c.name in sizes.tasks for spec in compared(c, sizes, records, seeds)]
    # At SGG's own rate, untuned: what is asked is what one setting changes, not how good each could get.
    if (rate := chosen(planned, SMALLEST.wrapped)) is not None:
        for arm in (*VARIANTS.values(), *ABLATIONS.values()):
            count = seeds(arm.part, arm.name)
            planned += [make(sizes.tasks[SMALLEST.name], arm, rate, seed, "fresh") for seed in range(count)]
    return planned + robustness(sizes, seeds) + longer(sizes, planned)
