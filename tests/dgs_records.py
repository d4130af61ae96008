"""Records of the DGS study, made by hand: every number follows from arm, rate and seed."""

import math
from functools import cache

from regrad.results import Curve, Fingerprint, Record, Spec, run_id
from regrad.studies.dgs.arms import ARMS, READINGS
from regrad.studies.dgs.plan import plan
from regrad.studies.dgs.sizes import FACTORIAL, PRESETS, Sizes
from regrad.studies.grids import FreshSeeds

FINGERPRINT = Fingerprint(code="c0de", data="da7a", torch="2.13.0", device="cpu")
UNTRAINED = 2.3
SIZES = PRESETS["smoke"]._replace(seeds=(1, 5), points=3, cells=FACTORIAL)
# Final losses at the best rate; what a factor 10 off the optimum adds.
LOSS = {arm: 0.5 + 0.05 * k for k, arm in enumerate(ARMS)}
# What a network or a reset adds, so that no cell of a factorial has another's numbers.
CELL = {"resnet32": 0.2, "soft": 0.04, "hard": 0.08}
OFF = {"sgd": 0.4, "adam": 0.2, "E1": 0.1, "S1": 0.3}


def jitter(spec: Spec) -> float:
    """A thousandth that differs by arm and seed, so that paired differences have a spread."""
    return 0.001 * ((spec.seed * 7 + len(spec.tags["arm"]) * 3) % 5)


def final_loss(spec: Spec) -> float:
    """Lowest at the middle of the arm's grid."""
    tags = spec.tags
    if tags["part"] == "stability":
        return LOSS[tags["arm"]] + OFF[tags["arm"]] * abs(math.log10(float(tags["multiple"]))) + jitter(spec)
    if tags["phase"] == "tune":
        off = abs(math.log10(spec.optimizer.lr / ARMS[tags["arm"]].center))
        return LOSS[tags["arm"]] + 0.1 * off + jitter(spec)
    return LOSS[tags["arm"]] + CELL.get(tags["model"], 0) + CELL.get(tags.get("reset"), 0) + jitter(spec)


def record(spec: Spec, *, lost: bool = False, risen: bool = False) -> Record:
    """What ``spec`` leaves behind: a straight line of losses.

    A lost run stops after its first evaluation; a risen one ends a nat above its untrained model.
    """
    last = UNTRAINED + 1 if risen else final_loss(spec)
    count = spec.evaluations
    x = [spec.steps * k / count for k in range(count + 1)]
    y = [UNTRAINED + (last - UNTRAINED) * k / count for k in range(count + 1)]
    curves = {"validation_loss": Curve(x=x[:1], y=y[:1]) if lost else Curve(x=x, y=y)}
    measured = {part.name for part in spec.measures}
    if not lost and "test" in measured:
        curves |= {"test_loss": Curve(x=x[-1:], y=[last]), "test_accuracy": Curve(x=x[-1:], y=[1 - last / 4])}
    if not lost and "spikes" in measured:
        curves["test_spikes"] = Curve(x=x[-1:], y=[10 * last])
    if not lost and "reading_geometry" in measured:
        for reading in READINGS:
            curves |= {f"cosine/{reading}": Curve(x=[0.0], y=[0.5]), f"slope/{reading}": Curve(x=[0.0], y=[1.0])}
    return Record(
        run_id=run_id(spec, FINGERPRINT),
        spec=spec,
        fingerprint=FINGERPRINT,
        status="diverged" if lost else "finished",
        metrics={} if lost else {name: curve.y[-1] for name, curve in curves.items()},
        curves=curves,
        parameters=1000,
    )


def complete(sizes: Sizes, fresh: FreshSeeds | None = None) -> tuple[Record, ...]:
    """All records of the study at these sizes."""
    found: list[Record] = []
    while len(specs := plan(sizes, found, fresh)) > len(found):
        found = [record(spec) for spec in specs]
    return tuple(found)


@cache
def study_records() -> tuple[Record, ...]:
    """All records of the study at its constructed sizes."""
    return complete(SIZES)


REPAIRED = (
    {"scaling lines": "printed", "steps": 50, "largest difference to SGD": 0.0, "bit-identical": True},
    {"scaling lines": "removed", "steps": 50, "largest difference to SGD": 0.0, "bit-identical": True},
    {"scaling lines": "used", "steps": 50, "largest difference to SGD": 0.05, "bit-identical": False},
)
