"""ALSDGC against what one would use instead: the printed algorithm (V0), its repairs (V1-V4), and baselines.

Parts, told apart by the tag ``part``. The name of a task (``plain``, ``resnet``, ``rnn``, ``lstm``,
``transformer``, ``translation``): every arm's learning rate is tuned, then it runs on fresh seeds. The parts beside
the tasks are those of `regrad.studies.alsdgc.beside`. Preset paper has ImageNet where its images are.

The tag ``rank`` says what a run is for: "0" the headline comparison, its tuning and its first look; "1" another
claim; "2" what no claim reads, other budgets, and seeds of later looks.
"""

import os
from collections.abc import Iterable
from functools import partial

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.alsdgc.arms import ARMS, CONTEXT, NORMS, RUNGS
from regrad.studies.alsdgc.beside import beside_plain, beside_tasks
from regrad.studies.alsdgc.sizes import HEADLINE, IMAGENET, IMAGENET_VARIABLE, PRESETS, SPARE_PARTS, Sizes, Task
from regrad.studies.alsdgc.study import STUDY
from regrad.studies.grids import FreshSeeds, log_grid, tuned, tuning_then_fresh
from regrad.studies.looks import later, specs_in_looks


def center(name: str, task: Task) -> float:
    arm = ARMS[name]
    own = task.centers.get(name) or arm.center
    return own or task.center * (arm.factor if task.optimizer == "sgd" else 1.0)


def optimizer(name: str, lr: float) -> Part:
    return Part(name=name, options={"momentum": 0.9} if name == "sgd" else {}).with_lr(lr)


def measures(sizes: Sizes, arm: str, part: str) -> tuple[Part, ...]:
    task = sizes.tasks[part]
    losses = sizes.curves if part in sizes.matched else (sizes.test,)
    readings = Part(name="scaler_readings", options={"every": max(1, task.steps // 100)})
    return (*losses, readings) if arm in RUNGS else losses


def make(sizes: Sizes, part: str, arm: str, lr: float, seed: int, phase: str) -> Spec:
    task = sizes.tasks[part]
    fresh = phase == "fresh"
    return Spec(
        problem=task.problem,
        optimizer=optimizer(ARMS[arm].optimizer or task.optimizer, lr),
        scaler=ARMS[arm].scaler_part(sizes.warmup),
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=sizes.lr_warmup, final=0.1),
        measures=measures(sizes, arm, part) if fresh else (),
        evaluations=sizes.evaluations if fresh else sizes.sparse,
        tags={"study": STUDY.name, "part": part, "arm": arm, "phase": phase},
    )


def tuned_part(sizes: Sizes, part: str, records: Iterable[Record], fresh: FreshSeeds) -> list[Spec]:
    """Name a task's tuning runs and fresh runs; of the norms, those that a preset wants and tuning has chosen."""
    task = sizes.tasks[part]
    grids = {arm: log_grid(center(arm, task), sizes.points, 2.0) for arm in task.arms}
    own = [record for record in records if record.spec.tags["part"] == part]
    named = partial(tuning_then_fresh, grids, partial(make, sizes, part), own, extensions=sizes.extensions)
    best = settled_norm(named(seeds=(sizes.seeds[0], 0)), own, part)

    def seeds(arm: str) -> int:
        idle = arm in NORMS and not sizes.every_norm and arm not in ("clip-1", best)
        return 0 if idle else fresh(part, arm)

    return named(seeds=(sizes.seeds[0], seeds))


def settled_norm(tuning: Iterable[Spec], records: Iterable[Record], part: str) -> str | None:
    """Return the fixed norm that tuned best, once every norm's tuning has ended; it then stays the same."""
    own = [record for record in records if record.spec.tags["part"] == part and record.spec.tags["arm"] in NORMS]
    here = {record.spec.key() for record in own}
    ended = all(spec.key() in here for spec in tuning if spec.tags["arm"] in NORMS)
    return best_norm(own, part) if ended else None


def best_norm(records: Iterable[Record], part: str) -> str | None:
    """Return the fixed norm that tuned best on a task, None before any did."""
    choices = tuned([record for record in records if record.spec.tags["part"] == part])
    means = {arm: choice.means[choice.best] for arm, choice in choices.items() if choice.best and arm in NORMS}
    return min(means, key=lambda arm: means[arm]) if means else None


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far.

    ImageNet is among them at preset paper, where ``REGRAD_IMAGENET`` says in which folder its images are.
    """
    from regrad.studies.alsdgc.claims import claim_rows  # here, since what it reads its records by reads this plan

    sizes = PRESETS[preset]
    if preset == "paper" and os.environ.get(IMAGENET_VARIABLE):
        sizes = sizes._replace(tasks=sizes.tasks | {"imagenet": IMAGENET})
    own = partial(plan, sizes)
    return specs_in_looks(STUDY.name, preset, records, plan=own, claim_rows=claim_rows, seeds=sizes.seeds[1])


def plan(sizes: Sizes, records: list[Record], fresh: FreshSeeds | None = None) -> list[Spec]:
    """Return every spec that can be named given ``records``; ``fresh`` says how many seeds a part's arm has."""
    fresh = fresh or (lambda part, arm: sizes.seeds[1])
    by_task = {part: tuned_part(sizes, part, records, fresh) for part in sizes.tasks}
    bases = {(s.tags["part"], s.tags["arm"]): s for part in by_task.values() for s in part if is_base(s)}
    best = {part: settled_norm(tuning_of(named), records, part) for part, named in by_task.items()}
    runs = [spec for named in by_task.values() for spec in named]
    runs += beside_plain(sizes, bases, best["plain"], fresh) + beside_tasks(sizes, bases, best, fresh)
    return [spec.model_copy(update={"tags": spec.tags | {"rank": rank(spec)}}) for spec in runs]


def tuning_of(named: Iterable[Spec]) -> list[Spec]:
    return [spec for spec in named if spec.tags["phase"] == "tune"]


def is_base(spec: Spec) -> bool:
    """Whether other parts vary this run: the first of an arm's fresh seeds."""
    return spec.tags["phase"] == "fresh" and spec.seed == 0


def rank(spec: Spec) -> str:
    part, arm = spec.tags["part"], spec.tags["arm"]
    if later(spec.tags["phase"], spec.seed) or arm in CONTEXT or part.startswith(SPARE_PARTS):
        return "2"
    return "0" if part in HEADLINE and arm in ("none", *NORMS, "V0", "V4") else "1"
