"""Records of the study of where the sign goes, made by hand: every number follows from arm, rate and seed."""

from regrad.results import Curve, Fingerprint, Record, Spec, run_id
from regrad.studies.grids import FreshSeeds
from regrad.studies.sign_placement import plan as study
from regrad.studies.sign_placement.arms import ARMS
from regrad.studies.sign_placement.sizes import PRESETS

FINGERPRINT = Fingerprint(code="c0de", data="da7a", torch="2.13.0", device="cpu")
LAYERS = ("embedding.weight", "blocks.0.attention.query.weight", "norm.weight")
LOSS = {"example": 2.4, "group-4": 2.3, "batch": 2.2, "ema": 2.0}
SHARE = {"example": 0.60, "group-4": 0.65, "batch": 0.70, "ema": 0.80}
SIZES = PRESETS["smoke"]
# What can be missing or diverge, as arguments of `study_records`.
CASES = {
    "whole": {},
    "one seed": {"seeds": 1},
    "an arm diverged everywhere": {"diverged": ("example",)},
    "one fresh run diverged": {"diverged": ("batch/1",)},
    "an arm is missing": {"without": ("group-4",)},
    "the earliest arm is missing": {"without": ("example",)},
    "the reference is missing": {"without": ("ema",)},
    "the reference diverged": {"diverged": ("ema",)},
    "one run of the reference diverged": {"diverged": ("ema/0",)},
    "all diverged": {"diverged": ("example", "group-4", "batch", "ema")},
}


def noise_curves() -> dict[str, Curve]:
    """Measurements at two checkpoints; the mean share of right signs of an arm is ``SHARE``."""
    found = {}
    for arm, share in SHARE.items():
        found[f"noise/all/resampled_right/{arm}"] = Curve(x=[0.0, 25.0], y=[share - 0.05, share + 0.05])
        found[f"noise/all/rms/{arm}"] = Curve(x=[0.0, 25.0], y=[0.5, 0.5])
        for place, layer in enumerate(LAYERS):
            for kind, drop in (("gaussian", 0.01), ("resampled", 0.02)):
                found[f"noise/{layer}/{kind}/{arm}"] = Curve(x=[0.0, 25.0], y=[share - drop * place] * 2)
    for place, layer in enumerate(LAYERS):
        for what, value in (("snr", 0.1), ("kurtosis", 4.0), ("agreement", 0.9)):
            found[f"noise/{layer}/{what}"] = Curve(x=[0.0, 25.0], y=[value, value + 0.01 * place])
    return found


def record(arm: str, lr: float, seed: int, phase: str, *, diverged: bool = False) -> Record:
    """One run: 2.4 … 2.0 nats at the arm's best rate, 0.1 more a notch from it, 0.01 more a seed."""
    spec = study.make(SIZES, ARMS[arm], lr, seed, phase)
    grid = sorted({float(f"{study.center(ARMS[arm], SIZES) * r:.6g}") for r in (0.5, 1.0, 2.0)})
    loss = LOSS[arm] + 0.1 * abs(grid.index(lr) - 1) + 0.01 * (seed % 1000)
    curves = {"validation_loss": Curve(x=[0.0, 5.0, 15.0, 25.0], y=[5.5, 4.0, 3.0, loss])}
    if diverged:
        curves = {"validation_loss": Curve(x=[0.0, 5.0], y=[5.5, 5.0])}
    elif phase == "fresh":
        curves["test_loss"] = Curve(x=[25.0], y=[loss])
        curves |= noise_curves() if arm == "ema" else {}
    return Record(
        run_id=run_id(spec, FINGERPRINT),
        spec=spec,
        fingerprint=FINGERPRINT,
        status="diverged" if diverged else "finished",
        metrics={} if diverged else {name: c.y[-1] for name, c in curves.items()},
        curves=curves,
        parameters=115_008,
    )


def study_records(*, without: tuple[str, ...] = (), diverged: tuple[str, ...] = (), seeds: int = 3) -> list[Record]:
    """Tuning and fresh runs of preset smoke.

    Args:
        without: Arms that have no runs at all.
        diverged: ``"arm"`` for an arm whose every run diverged, ``"arm/seed"`` for one fresh run.
        seeds: Fresh seeds.
    """
    found = []
    for arm in (a.name for a in study.arms(SIZES) if a.name not in without):
        best = float(f"{study.center(ARMS[arm], SIZES):.6g}")
        lost = arm in diverged
        for lr in (float(f"{best * r:.6g}") for r in (0.5, 1.0, 2.0)):
            found.append(record(arm, lr, 1000, "tune", diverged=lost))
        for seed in range(seeds):
            found.append(record(arm, best, seed, "fresh", diverged=lost or f"{arm}/{seed}" in diverged))
    return found


LONGER = SIZES._replace(seeds=(2, 10), budget=4, budget_seeds=3)


def longer_record(spec: Spec) -> Record:
    """0.1 nats a notch from the centre of the arm's grid; with four times the steps example loses half its gap."""
    arm, seed = spec.tags["arm"], spec.seed % 1000
    notches = abs(spec.optimizer.lr / study.center(ARMS[arm], LONGER) - 1)
    longer = spec.tags["part"] == "budget"
    loss = LOSS[arm] - (0.2 if arm == "example" and longer else 0.0) + 0.1 * notches + 0.01 * seed
    curves = {"validation_loss": Curve(x=[0.0, float(spec.steps)], y=[5.5, loss])}
    if spec.measures:
        curves["test_loss"] = Curve(x=[float(spec.steps)], y=[loss])
    if "gradient_noise" in {part.name for part in spec.measures}:
        curves |= noise_curves()
    return Record(
        run_id=run_id(spec, FINGERPRINT),
        spec=spec,
        fingerprint=FINGERPRINT,
        status="finished",
        metrics={name: curve.y[-1] for name, curve in curves.items()},
        curves=curves,
        parameters=115_008,
    )


def carried_out(fresh: FreshSeeds) -> list[Record]:
    """The plan with longer runs, as the runner would ask for them."""
    found: list[Record] = []
    while len(specs := study.plan(LONGER, found, fresh)) > len(found):
        found = [longer_record(spec) for spec in specs]
    return found
