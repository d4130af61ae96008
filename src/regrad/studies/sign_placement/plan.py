"""Where the sign goes: signSGD with the sign before or after each of two averages (per-example paper, C3).

The arms differ in the place of the sign: ``example`` takes it of every example's gradient,
``group-k`` of means of k examples, ``batch`` of the batch mean, all three before the moving average,
and ``ema`` after it. Update sizes differ by a factor of up to κ√B, so each arm has its own grid, around
the learning rate at which its update in the noise-limited regime is as long as ``ema``'s.

Two parts, told apart by the tag ``part``: ``language``, and ``budget``, the arms of C3 at their chosen rates for
several times as many steps. The tag ``rank`` is "0" for the arms of C3, "1" for the rungs between them, "2" for seeds
of later looks and for the budget.
"""

from functools import partial

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import FreshSeeds, log_grid, tuning_then_fresh
from regrad.studies.looks import later, specs_in_looks
from regrad.studies.sign_placement.arms import ARMS, HEADLINE, REFERENCE, SignArm
from regrad.studies.sign_placement.sizes import PRESETS, Sizes
from regrad.studies.sign_placement.study import STUDY
from regrad.transforms.placements import noise_limited_update_rms

MOMENTUM = 0.9


def arms(sizes: Sizes) -> list[SignArm]:
    return [arm for arm in ARMS.values() if arm.group_size in (1, *sizes.groups)]


def center(arm: SignArm, sizes: Sizes) -> float:
    """Return the predicted best learning rate of an arm: ``ema``'s over its root-mean-square update."""
    rms = noise_limited_update_rms(
        arm.placement, momentum=MOMENTUM, batch_size=sizes.batch_size, group_size=arm.group_size
    )
    return sizes.center / rms


def measures(arm: SignArm, sizes: Sizes) -> tuple[Part, ...]:
    """Return what a fresh run records: the test loss, and the reference's run the noise that predictions come from."""
    # B and momentum again: what is predicted are the updates of all arms, not those of the run that measures.
    options: dict[str, JsonValue] = {
        "examples": sizes.examples,
        "batch_size": sizes.batch_size,
        "momentum": MOMENTUM,
        "groups": list(sizes.groups),
    }
    noise = Part(name="gradient_noise", options=options)
    return (Part(name="test"), noise) if arm == REFERENCE else (Part(name="test"),)


def make(sizes: Sizes, arm: SignArm, lr: float, seed: int, phase: str) -> Spec:
    signs = Part(name="example_signs", options={"group_size": arm.group_size, "method": sizes.method})
    optimizer: dict[str, JsonValue] = {"lr": lr, "momentum": MOMENTUM, "placement": arm.placement}
    return Spec(
        problem=Part(name="language", options=sizes.problem),
        optimizer=Part(name="sign_sgd", options=optimizer),
        # A later sign is the optimizer's own: it takes the ordinary gradient.
        gradient=signs if arm.placement == "example" else None,
        steps=sizes.steps,
        batch_size=sizes.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=sizes.warmup, final=0.1),
        measures=measures(arm, sizes) if phase == "fresh" else (),
        evaluations=10,
        tags={"study": STUDY.name, "part": "language", "arm": arm.name, "phase": phase, "rank": rank(arm, seed, phase)},
    )


def rank(arm: SignArm, seed: int, phase: str) -> str:
    if later(phase, seed):
        return "2"
    return "0" if arm.name in HEADLINE else "1"


def specs(preset: str, records: list[Record]) -> list[Spec]:
    from regrad.studies.sign_placement.claims import claim_rows  # here, since a plan needs no scipy

    sizes = PRESETS[preset]
    return specs_in_looks(
        STUDY.name, preset, records, plan=partial(plan, sizes), claim_rows=claim_rows, seeds=sizes.seeds[1]
    )


def plan(sizes: Sizes, records: list[Record], fresh: FreshSeeds) -> list[Spec]:
    grids = {arm.name: log_grid(center(arm, sizes), sizes.points, sizes.ratio) for arm in arms(sizes)}

    def of_arm(name: str, lr: float, seed: int, phase: str) -> Spec:
        return make(sizes, ARMS[name], lr, seed, phase)

    seeds = (sizes.seeds[0], partial(fresh, "language"))
    language = tuning_then_fresh(grids, of_arm, records, seeds=seeds, extensions=sizes.extensions)
    return language + budget_runs(sizes, language)


def budget_runs(sizes: Sizes, language: list[Spec]) -> list[Spec]:
    """Return the longer runs of the arms of C3 that have a rate; their number does not depend on looks."""
    tags = {"part": "budget", "phase": "budget", "rank": "2"}
    return [
        spec.model_copy(
            update={
                "seed": seed,
                "steps": spec.steps * sizes.budget,
                "measures": (Part(name="test"),),
                "tags": spec.tags | tags,
            }
        )
        for spec in language
        if sizes.budget and spec.tags["phase"] == "fresh" and spec.seed == 0 and spec.tags["arm"] in HEADLINE
        for seed in range(sizes.budget_seeds)
    ]
