"""Which part of the second moment preconditions Adam: μ², σ² or a mixture (per-example paper, C4 to C8).

Four parts, told apart by the tag ``part``: ``language`` and ``images`` tune every arm's learning rate and run
it on fresh seeds; ``stability`` raises it over the optimum found, in short runs; ``scaling`` runs Adam at
several batch sizes, equal tokens and learning rates proportional to B^0, B^½ and B.
"""

import math

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.micro_adam.arms import ADAM, ARMS, ROOT, RULES, AdamArm, arms_in
from regrad.studies.micro_adam.sizes import PRESETS, Sizes, Task
from regrad.studies.micro_adam.study import STUDY

BETAS = (0.9, 0.99)
EPS = 1e-12  # small enough not to be a preconditioner itself
MAX_NORM = 1.0
DECAY = 0.1


def specs(preset: str, records: list[Record]) -> list[Spec]:
    return plan(PRESETS[preset], records)


def plan(sizes: Sizes, records: list[Record]) -> list[Spec]:
    language = tuned_part(sizes, "language", records)
    varied: list[Spec] = []
    for spec in language:
        arm = ARMS[spec.tags["arm"]]
        if spec.tags["phase"] == "fresh":
            # The stability runs of an arm have seeds of their own: any one fresh run names their optimum.
            varied += stability_runs(sizes, spec) if "stability" in arm.parts and spec.seed == 0 else []
            # Adam alone: the claims on batch sizes are on its learning rate.
            varied += scaling_runs(sizes, spec) if arm == ADAM else []
    return language + tuned_part(sizes, "images", records) + varied


def tuned_part(sizes: Sizes, part: str, records: list[Record]) -> list[Spec]:
    task = sizes.task(part)
    grids = {arm.name: log_grid(center(arm, task), sizes.points, 2.0) for arm in arms_in(part)}

    def make_in_part(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(sizes, part, ARMS[arm], lr=lr, seed=seed, phase=phase)

    own = [record for record in records if record.spec.tags["part"] == part]
    return tuning_then_fresh(grids, make_in_part, own, seeds=sizes.seeds, extensions=sizes.extensions)


def center(arm: AdamArm, task: Task) -> float:
    """Return the middle of an arm's grid, halfway between its two predicted optima.

    Where μ² dominates, an arm's best learning rate is Adam's; where noise dominates, it is Adam's times the
    root of the ratio of their ν. For MicroAdam and MicroAdamVar a grid of width 4 √B then reaches from half
    of Adam's to 2 √B times Adam's.
    """
    beta = BETAS[1]
    # What bounds ν from below at c = 0: the least share of σ²/B that a moving average of gbar² - v/B resolves.
    least = math.sqrt(2 * (1 - beta) / (1 + beta))
    # ν over Adam's σ²/B where noise dominates.
    ratio = 1.0 if arm.c is None else arm.c * task.batch_size
    return task.center * max(ratio, least) ** 0.25


def make(sizes: Sizes, part: str, arm: AdamArm, *, lr: float, seed: int, phase: str) -> Spec:
    task = sizes.task(part)
    optimizer: dict[str, JsonValue] = {"lr": lr, "betas": list(BETAS), "eps": EPS}
    optimizer |= {"preconditioner": arm.preconditioner} | ({"weight_decay": DECAY} if arm.decay else {})
    return Spec(
        problem=task.problem,
        optimizer=Part(name="micro_adam", options=optimizer),
        gradient=gradient(arm, sizes.method),
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=measures(sizes, part, arm) if phase == "fresh" else (),
        evaluations=sizes.evaluations,
        tags={"study": STUDY.name, "part": part, "arm": arm.name, "phase": phase},
    )


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
        every = max(1, sizes.task(part).steps // sizes.evaluations)
        chosen.append(Part(name="state_mean", options={"key": "clipped_share", "every": every}))
    return tuple(chosen)


def stability_runs(sizes: Sizes, fresh: Spec) -> list[Spec]:
    return [
        fresh.model_copy(
            update={
                "optimizer": fresh.optimizer.with_lr(fresh.optimizer.lr * multiple),
                "seed": seed,
                "steps": sizes.stability_steps,
                "measures": (),
                "evaluations": 2,
                "tags": fresh.tags | {"part": "stability", "phase": "stability", "multiple": f"{multiple:g}"},
            }
        )
        for multiple in sizes.multiples
        for seed in range(sizes.stability_seeds)
    ]


def scaling_runs(sizes: Sizes, fresh: Spec) -> list[Spec]:
    """Return Adam's runs of one seed at other batch sizes, by η ∝ B^p from the optimum at the task's own B.

    At that B the three rules are one run.
    """
    own = fresh.batch_size
    return [
        fresh.model_copy(
            update={
                "optimizer": fresh.optimizer.with_lr(fresh.optimizer.lr * (size / own) ** rule.exponent),
                "batch_size": size,
                "steps": fresh.steps * own // size,
                "measures": fresh.measures if size == own or rule == ROOT else fresh.measures[:1],
                "tags": fresh.tags | {"part": "scaling", "phase": "scaling", "arm": rule.name},
            }
        )
        for rule in RULES.values()
        for size in sizes.batch_sizes
    ]
