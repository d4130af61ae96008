"""Records of the study of ALSDGC, made by hand: every number follows from part, arm, rate and seed."""

import math
import zlib

from regrad.results import Curve, Fingerprint, Record, Spec, run_id
from regrad.studies.alsdgc import plan as study
from regrad.studies.alsdgc.sizes import PRESETS, Sizes
from regrad.studies.grids import FreshSeeds

FINGERPRINT = Fingerprint(code="c0de", data="da7a", torch="2.13.0", device="cpu")
UNTRAINED = 2.3
LOSS = {"V0": 1.9, "V4": 1.4, "clip-1": 1.6, "clip-3": 1.5, "placebo": 1.6, "none": 1.7}
SIZES = PRESETS["smoke"]._replace(seeds=(1, 5), points=3, multiples=(0.25, 0.5, 2.0, 4.0), percents=(10, 30))


def jitter(arm: str, seed: int) -> float:
    """A thousandth or two that differs by arm and seed, so that paired differences have a spread."""
    return 0.0005 * (zlib.crc32(f"{arm} {seed}".encode()) % 7)


def losses(spec: Spec, sizes: Sizes = SIZES) -> list[float]:
    """Validation losses at 0 and at the spec's evaluations."""
    arm, part, count = spec.tags["arm"], spec.tags["part"], spec.evaluations
    last = LOSS.get(arm, 1.8) + jitter(arm, spec.seed)
    if spec.tags["phase"] in ("tune", "fresh"):
        last += 0.1 * abs(math.log2(spec.optimizer.lr / study.center(arm, sizes.tasks[part])))
    if part == "width":  # 5 % is left after half a doubling or more
        last *= 1 + 0.05 * abs(math.log2(float(spec.tags["multiple"])))
    if part == "sensitivity":  # a hundredth more for each unit of a constant
        last += 0.01 * (spec.scaler.options.get("max_norm") or spec.scaler.options.get("init_threshold", 0.0))
    if part == "fractions":
        last += 1.0 / float(spec.tags["percent"])
    if part == "spikes":  # a bad batch at step 2 costs 1 nat; V4 is back at step 4, the others never
        return [2.0, 1.9, 1.8, 2.8, 1.8 if arm == "V4" else 2.5, 1.7 if arm == "V4" else 2.2]
    return [UNTRAINED + (last - UNTRAINED) * k / count for k in range(count + 1)]


def record(spec: Spec, sizes: Sizes = SIZES) -> Record:
    """What ``spec`` leaves behind; V0 diverges in float16, and on the RNN at every learning rate."""
    y = losses(spec, sizes)
    x = [spec.steps * k / (len(y) - 1) for k in range(len(y))]
    lost = spec.tags["arm"] == "V0" and spec.tags["part"] in ("rnn", "fp16")
    curves = {"validation_loss": Curve(x=x[:1], y=y[:1]) if lost else Curve(x=x, y=y)}
    measured = {part.name for part in spec.measures}
    if not lost and "split_losses" in measured:  # training loss 0.2 below, test loss 0.1 above
        curves["train_loss"] = Curve(x=x, y=[value - 0.2 for value in y])
        curves["test_loss"] = Curve(x=x, y=[value + 0.1 for value in y])
    if not lost and "split_curves" in measured:
        curves["train_loss"] = Curve(x=x, y=[value - 0.2 for value in y])
        curves["sampled_test_loss"] = Curve(x=x, y=[value + 0.1 for value in y])
    if not lost and measured & {"test", "whole_test"}:
        curves["test_loss"] = Curve(x=x[-1:], y=[y[-1] + 0.1])
        curves["test_accuracy"] = Curve(x=x[-1:], y=[0.95])
        if spec.tags["part"] == "translation":
            curves["test_bleu"] = Curve(x=x[-1:], y=[12.5])
    if "scaler_readings" in measured:
        for name in ("scale", "threshold", "clipped"):
            curves[f"scaler/{name}"] = Curve(x=[1.0, 2.0], y=[1.0, 2.0])
    return Record(
        run_id=run_id(spec, FINGERPRINT),
        spec=spec,
        fingerprint=FINGERPRINT,
        status="diverged" if lost else "finished",
        metrics={} if lost else {name: curve.y[-1] for name, curve in curves.items()},
        curves=curves,
        parameters=1234,
    )


def complete(sizes: Sizes, fresh: FreshSeeds) -> list[Record]:
    """All records of a plan."""
    records: list[Record] = []
    while True:
        specs = study.plan(sizes, records, fresh)
        if len(specs) == len(records):
            return records
        records = [record(spec, sizes) for spec in specs]


def study_records() -> list[Record]:
    """All records of the study."""
    return complete(SIZES, lambda part, arm: SIZES.seeds[1])
