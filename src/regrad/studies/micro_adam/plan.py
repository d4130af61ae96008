"""Which part of the second moment preconditions Adam: μ², σ² or a mixture (per-example paper, C4 to C8).

Parts, told apart by the tag ``part``: ``language`` and ``images`` tune every arm's learning rate and run it on fresh
seeds; ``stability`` raises it over the optimum found, in short runs; ``scaling`` runs Adam at several batch sizes,
equal tokens and learning rates proportional to B^0, B^½ and B; ``batches`` tunes Adam at each of these batch sizes, to
say what a rule loses; ``budget`` runs the named methods at their chosen rates for several times as many steps.

The tag ``rank`` is "0" for the named methods, "1" for what other claims need, "2" for seeds of later looks and for
the budget.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import FreshSeeds, log_grid, tuning_then_fresh
from regrad.studies.looks import later, specs_in_looks
from regrad.studies.micro_adam.arms import ADAM, ARMS, HEADLINE, ROOT, RULES, AdamArm, arms_in, at_batch_size
from regrad.studies.micro_adam.sizes import PRESETS, Sizes, Task
from regrad.studies.micro_adam.study import STUDY

BETA1 = 0.9
EPS = 1e-12  # small enough not to be a preconditioner itself
MAX_NORM = 1.0
DECAY = 0.1


def specs(preset: str, records: list[Record]) -> list[Spec]:
    from regrad.studies.micro_adam.claims import claim_rows  # here, since a plan needs no scipy

    sizes = PRESETS[preset]
    return specs_in_looks(
        STUDY.name, preset, records, plan=partial(plan, sizes), claim_rows=claim_rows, seeds=sizes.seeds[1]
    )


def plan(sizes: Sizes, records: list[Record], fresh: FreshSeeds) -> list[Spec]:
    tuned = [spec for part in sizes.tasks for spec in tuned_part(sizes, part, records, fresh)]
    # Any one fresh run of an arm names its optimum; how many there are is for each part to say.
    optima = {
        spec.tags["arm"]: spec
        for spec in tuned
        if (spec.tags["part"], spec.tags["phase"], spec.seed) == ("language", "fresh", 0)
    }
    found = tuned + batch_runs(sizes, records, fresh)
    for name, optimum in optima.items():
        found += stability_runs(sizes, optimum, fresh) if "stability" in ARMS[name].parts else []
        found += scaling_runs(sizes, optimum, fresh) if name == ADAM.name else []
        found += budget_runs(sizes, optimum) if name in HEADLINE else []
    return found


def tuned_part(sizes: Sizes, part: str, records: list[Record], fresh: FreshSeeds) -> list[Spec]:
    task = sizes.tasks[part]
    arms = arms_in(part, sizes.left_out)
    grids = {arm.name: log_grid(center(arm, task, sizes.beta2), sizes.points, 2.0) for arm in arms}

    def make_in_part(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(sizes, part, ARMS[arm], lr=lr, seed=seed, phase=phase)

    return of_part(sizes, part, records, fresh, grids=grids, make_spec=make_in_part)


def of_part(
    sizes: Sizes, part: str, records: list[Record], fresh: FreshSeeds, *, grids: dict[str, list[float]], make_spec: Any
) -> list[Spec]:
    own = [record for record in records if record.spec.tags["part"] == part]
    seeds = (sizes.seeds[0], partial(fresh, part))
    return tuning_then_fresh(grids, make_spec, own, seeds=seeds, extensions=sizes.extensions)


def center(arm: AdamArm, task: Task, beta: float) -> float:
    """Return the middle of an arm's grid, halfway between its two predicted optima.

    Where μ² dominates, an arm's best learning rate is Adam's; where noise dominates, it is Adam's times the
    root of the ratio of their ν. For MicroAdam and MicroAdamVar a grid of width 4 √B then reaches from half
    of Adam's to 2 √B times Adam's.
    """
    # What bounds ν from below at c = 0: the least share of σ²/B that a moving average of gbar² - v/B resolves.
    least = math.sqrt(2 * (1 - beta) / (1 + beta))
    # ν over Adam's σ²/B where noise dominates.
    ratio = 1.0 if arm.c is None else arm.c * task.batch_size
    return task.center * max(ratio, least) ** 0.25


def make(sizes: Sizes, part: str, arm: AdamArm, *, lr: float, seed: int, phase: str) -> Spec:
    task = sizes.tasks[part]
    optimizer: dict[str, JsonValue] = {"lr": lr, "betas": [BETA1, sizes.beta2], "eps": EPS}
    optimizer |= {"preconditioner": arm.preconditioner} | ({"weight_decay": DECAY} if arm.decay else {})
    return Spec(
        problem=task.problem,
        optimizer=Part(name="micro_adam", options=optimizer),
        gradient=gradient(arm, sizes.method),
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=sizes.warmup, final=0.1),
        measures=measures(sizes, part, arm) if phase == "fresh" else (),
        evaluations=sizes.evaluations,
        tags={"study": STUDY.name, "part": part, "arm": arm.name, "phase": phase, "rank": rank(arm, seed, phase)},
    )


def rank(arm: AdamArm, seed: int, phase: str) -> str:
    if later(phase, seed):
        return "2"
    return "0" if arm.name in HEADLINE else "1"


def gradient(arm: AdamArm, method: str) -> Part | None:
    clip: dict[str, JsonValue] = {"max_norm": MAX_NORM} if arm.clip else {}
    if arm.statistic is None:
        return Part(name="backward", options=clip) if clip else None
    return Part(name="statistics", options={"names": [arm.statistic], "method": method, **clip})


def measures(sizes: Sizes, part: str, arm: AdamArm) -> tuple[Part, ...]:
    """Return what a fresh run records: its test loss, Adam's the split, and where ν is bounded how often it is."""
    chosen = [Part(name="test")]
    if arm == ADAM and part == "language":
        chosen.append(Part(name="moment_split", options={"examples": sizes.examples, "method": sizes.method}))
    if arm.c == 0:
        every = max(1, sizes.tasks[part].steps // sizes.evaluations)
        chosen.append(Part(name="state_mean", options={"key": "clipped_share", "every": every}))
    return tuple(chosen)


def varied(optimum: Spec, part: str, *, seed: int, tags: Mapping[str, str] | None = None, **changes: Any) -> Spec:
    """Return a run like one at an arm's optimum, of another part."""
    own = {"part": part, "phase": part, "rank": "2" if later(part, seed) else "1"} | dict(tags or {})
    return optimum.model_copy(update={"seed": seed, "tags": optimum.tags | own} | changes)


def stability_runs(sizes: Sizes, optimum: Spec, fresh: FreshSeeds) -> list[Spec]:
    return [
        varied(
            optimum,
            "stability",
            seed=seed,
            tags={"multiple": f"{multiple:g}"},
            optimizer=optimum.optimizer.with_lr(optimum.optimizer.lr * multiple),
            steps=sizes.stability_steps,
            measures=(),
            evaluations=2,
        )
        for multiple in sizes.multiples
        for seed in range(sizes.stability_seeds or fresh("stability", optimum.tags["arm"]))
    ]


def scaling_runs(sizes: Sizes, optimum: Spec, fresh: FreshSeeds) -> list[Spec]:
    """Return Adam's runs at other batch sizes, by η ∝ B^p from the optimum at the task's own B.

    At that B the three rules are one run.
    """
    own = optimum.batch_size
    return [
        varied(
            optimum,
            "scaling",
            seed=seed,
            tags={"arm": rule.name},
            optimizer=optimum.optimizer.with_lr(optimum.optimizer.lr * (size / own) ** rule.exponent),
            batch_size=size,
            steps=optimum.steps * own // size,
            measures=optimum.measures if size == own or rule == ROOT else optimum.measures[:1],
        )
        for rule in RULES.values()
        for seed in range(fresh("scaling", rule.name))
        for size in sizes.batch_sizes
    ]


def batch_runs(sizes: Sizes, records: list[Record], fresh: FreshSeeds) -> list[Spec]:
    """Return Adam's own tuning at every batch size but the task's, its grid around the rate of the square-root rule."""
    if not sizes.batch_points:
        return []
    task = sizes.language
    others = {at_batch_size(size): size for size in sizes.batch_sizes if size != task.batch_size}

    def make_at(arm: str, lr: float, seed: int, phase: str) -> Spec:
        size = others[arm]
        spec = make(sizes, "language", ADAM, lr=lr, seed=seed, phase=phase)
        changes = {"batch_size": size, "steps": task.steps * task.batch_size // size, "measures": spec.measures[:1]}
        tags = {"part": "batches", "arm": arm, "rank": "2" if later(phase, seed) else "1"}
        return spec.model_copy(update=changes | {"tags": spec.tags | tags})

    grids = {
        arm: log_grid(task.center * math.sqrt(size / task.batch_size), sizes.batch_points, 2.0)
        for arm, size in others.items()
    }
    return of_part(sizes, "batches", records, fresh, grids=grids, make_spec=make_at)


def budget_runs(sizes: Sizes, optimum: Spec) -> list[Spec]:
    """Return an arm's longer runs; how many there are does not depend on looks."""
    seeds = range(sizes.budget_seeds if sizes.budget else 0)
    longer: dict[str, Any] = {"steps": optimum.steps * sizes.budget, "measures": optimum.measures[:1]}
    return [varied(optimum, "budget", seed=seed, tags={"rank": "2"}, **longer) for seed in seeds]
