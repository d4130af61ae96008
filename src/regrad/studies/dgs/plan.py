"""The comparison that the DGS document describes, with DGS in each of its readings.

Parts, told apart by the tag ``part``: ``images`` tunes every arm on ResNet-20 and runs it on ResNet-20 and
ResNet-32, unless ResNet-32 has a tuning of its own, in ``images32``; ``budget`` trains for more or fewer steps at the
tuned rates; ``reset`` resets the optimizer in mid-run, by our definitions; ``stability`` moves the learning rate away
from the optimum; ``spiking`` (and ``spiking32``) trains spiking networks, where "reset" and "number of spikes" are the
field's own words; ``language``, ``transfer`` and ``own`` are what the abstract names beyond CIFAR.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.dgs.arms import ARMS, IMAGES, SPIKING, TASKS, DGSArm, arms_in
from regrad.studies.dgs.derived import (
    at_best,
    fresh_of,
    moved_runs,
    of_budget,
    on_problem,
    rates,
    reset_runs,
    with_reset,
)
from regrad.studies.dgs.sizes import PRESETS, Sizes, Task
from regrad.studies.dgs.study import STUDY
from regrad.studies.grids import FreshSeeds, log_grid, tuning_then_fresh
from regrad.studies.looks import later, specs_in_looks

HEADLINE = ("adam", "lars", "S1")  # what the document's tables compare
TEST = (Part(name="test"),)


def specs(preset: str, records: list[Record]) -> list[Spec]:
    from regrad.studies.dgs.claims import claim_rows  # here, since a plan at one look needs no statistics

    sizes, rows = PRESETS[preset], partial(claim_rows, passed=())
    seeds = sizes.seeds[1]
    return specs_in_looks(STUDY.name, preset, records, plan=partial(plan, sizes), claim_rows=rows, seeds=seeds)


def plan(sizes: Sizes, records: list[Record], fresh: FreshSeeds | None = None) -> list[Spec]:
    """Return every spec that can be named given ``records``; ``fresh`` says how many seeds a part's arm has."""
    study = Plan(sizes, records, fresh or (lambda part, arm: sizes.seeds[1]))
    beyond = [spec for part in TASKS for spec in study.compare(part, sizes.beyond[part])]
    return [ranked(spec) for spec in study.image_runs() + study.spiking_runs() + beyond]


def ranked(spec: Spec) -> Spec:
    """Return the spec with its tag ``rank``: 0 the headline comparison, 1 other claims, 2 what can wait."""
    tags = spec.tags
    headline = tags["part"] in IMAGES and tags["arm"] in HEADLINE
    rank = 2 if later(tags["phase"], spec.seed) or tags["part"] == "budget" else 0 if headline else 1
    return spec.model_copy(update={"tags": tags | {"rank": str(rank)}})


@dataclass(frozen=True)
class Plan:
    """What all parts of a plan go by."""

    sizes: Sizes
    records: list[Record]
    fresh: FreshSeeds

    def arms(self, part: str) -> tuple[str, ...]:
        return self.sizes.arms.get(part, tuple(arm.name for arm in arms_in(part)))

    def compare(
        self, part: str, task: Task, *, model: str = "", around: Mapping[str, float] | None = None
    ) -> list[Spec]:
        """Return a part's tuning runs and those on fresh seeds.

        Args:
            part: Name of the part.
            task: What is trained.
            model: The network, where a part has several.
            around: Middles of the arms' grids; an arm that is not in it waits. None for the middles of the sizes.
        """
        arms = [ARMS[name] for name in self.arms(part) if around is None or name in around]
        centers = self.sizes.centers.get(part, {}) if around is None else around
        grids = {
            arm.name: log_grid(centers.get(arm.name, arm.center), self.sizes.points, self.sizes.notch) for arm in arms
        }
        unread = self.sizes.unread or self.sizes.evaluations

        def make(name: str, lr: float, seed: int, phase: str) -> Spec:
            fresh = phase == "fresh"
            return Spec(
                problem=task.problem,
                optimizer=optimizer(ARMS[name], lr, task),
                gradient=ARMS[name].gradient,
                scaler=clipped(task.max_norm),
                steps=task.steps,
                batch_size=task.batch_size,
                seed=seed,
                schedule=Schedule(shape="cosine", warmup=task.warmup, final=0.1),
                measures=self.measures(part, name) if fresh else (),
                evaluations=self.sizes.evaluations if fresh and part in IMAGES else unread,
                tags={"study": STUDY.name, "arm": name, "part": part, "model": model or part, "phase": phase},
            )

        own = [record for record in self.records if record.spec.tags["part"] == part]
        seeds = (self.sizes.seeds[0], partial(self.fresh, part))
        return tuning_then_fresh(grids, make, own, seeds=seeds, extensions=self.sizes.extensions)

    def measures(self, part: str, arm: str) -> tuple[Part, ...]:
        extra: tuple[Part, ...] = ()
        common = "momentum" if "momentum" in self.arms("images") else "sgd"
        if (part, arm) == ("images", common):  # the gradients of one optimizer, whatever a reading makes of them
            extra = (Part(name="reading_geometry"),)
        if part in SPIKING:
            extra = (Part(name="spikes", options={"examples": self.sizes.spike_examples}),)
        return (*TEST, *extra)

    def image_runs(self) -> list[Spec]:
        sizes, networks = self.sizes, self.sizes.images
        first = self.compare("images", networks["resnet20"], model="resnet20")
        if sizes.tuned_apart:
            around = None if "images32" in sizes.centers else rates(first)
            deeper = self.compare("images32", networks["resnet32"], model="resnet32", around=around)
        else:
            deeper = [on_problem(spec, networks["resnet32"].problem, model="resnet32") for spec in fresh_of(first)]
        best = list(at_best(first).values())
        both = best + list(at_best(deeper).values())
        resets = [run for spec in both for seeded in self.again("reset", spec) for run in reset_runs(seeded)]
        stability = [seeded for spec in best for seeded in self.again("stability", spec, evaluations=2)]
        others = [run for spec in stability for run in moved_runs(spec, sizes.multiples)]
        budget = [seeded for spec in best for seeded in self.again("budget", spec)]
        return first + resets + others + [of_budget(run, steps) for steps in sizes.budgets for run in budget] + deeper

    def again(self, part: str, spec: Spec, evaluations: int = 0) -> list[Spec]:
        """Return a fresh run on each seed that its arm has in another part; none if it has no place there."""
        arm = spec.tags["arm"]
        update = {"measures": TEST, "evaluations": self.sizes.unread or evaluations or spec.evaluations}
        tags = spec.tags | {"part": part}
        seeds = range(self.fresh(part, arm) if arm in self.arms(part) else 0)
        return [spec.model_copy(update={**update, "seed": seed, "tags": tags}) for seed in seeds]

    def spiking_runs(self) -> list[Spec]:
        """Return the runs of the spiking networks: tuned in the first cell, or in the first of each network."""
        cells, networks = self.sizes.cells, self.sizes.spiking
        found: dict[str, list[Spec]] = {}
        around = None
        for model, part in zip(networks, SPIKING if self.sizes.tuned_apart else SPIKING[:1], strict=False):
            reset = next(reset for name, reset in cells if name == model)
            task = networks[model]._replace(problem=with_reset(networks[model].problem, reset))
            found[model] = self.compare(part, task, model=model, around=around)
            around = rates(found[model])
        tuning = [spec for specs in found.values() for spec in specs if spec.tags["phase"] == "tune"]
        first = next(iter(found.values()))
        return tuning + [
            on_problem(spec, with_reset(networks[model].problem, reset), model=model, reset=reset)
            for model, reset in cells
            for spec in fresh_of(found.get(model, first))
        ]


def optimizer(arm: DGSArm, lr: float, task: Task) -> Part:
    part = arm.part(lr)
    if arm.optimizer != "adam" or task.beta2 == Task._field_defaults["beta2"]:
        return part
    return part.model_copy(update={"options": {**part.options, "betas": [0.9, task.beta2]}})


def clipped(max_norm: float) -> Part | None:
    options: dict[str, JsonValue] = {"clipper": "fixed", "max_norm": max_norm}
    return Part(name="clipped", options=options) if math.isfinite(max_norm) else None
