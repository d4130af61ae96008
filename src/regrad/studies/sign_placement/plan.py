"""Where the sign goes: signSGD with the sign before or after each of two averages (per-example paper, C3).

The arms differ in the place of the sign: ``example`` takes it of every example's gradient,
``group-k`` of means of k examples, ``batch`` of the batch mean, all three before the moving average,
and ``ema`` after it. Update sizes differ by a factor of up to κ√B, so each arm has its own grid, around
the learning rate at which its update in the noise-limited regime is as long as ``ema``'s.
"""

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.sign_placement.arms import ARMS, REFERENCE, SignArm
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
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=measures(arm, sizes) if phase == "fresh" else (),
        evaluations=10,
        tags={"study": STUDY.name, "arm": arm.name, "phase": phase},
    )


def specs(preset: str, records: list[Record]) -> list[Spec]:
    sizes = PRESETS[preset]
    grids = {arm.name: log_grid(center(arm, sizes), sizes.points, sizes.ratio) for arm in arms(sizes)}

    def of_arm(name: str, lr: float, seed: int, phase: str) -> Spec:
        return make(sizes, ARMS[name], lr, seed, phase)

    return tuning_then_fresh(grids, of_arm, records, seeds=sizes.seeds)
