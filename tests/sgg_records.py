"""Records of the study of SGG, made by hand: every number follows from arm, rate and seed."""

import math
import zlib

from regrad.results import Curve, Fingerprint, Record, Spec, run_id
from regrad.studies.sgg import plan as study
from regrad.studies.sgg.sizes import PRESETS, Finetuning, StandIn, captions, preference

FINGERPRINT = Fingerprint(code="c0de", data="da7a", torch="2.13.0", device="cpu")
UNTRAINED = 5.5
# SGG ends 0.1 below its base; the matched base is 0.04 below it; the mean of S is 1.2 from the first recluster on.
EFFECT = {"": 0.0, "+sgg": -0.1, "+matched": -0.04}
MEAN_SCALE = 1.2
TASK = Finetuning({"layers": 1}, 4, 20, {"full": 1e-4, "r4": 1e-3, "r8": 1e-3}, 3, (1, 5))
STANDINS = {
    "dpo": StandIn(preference(8, 8, 2, 16), 2, 40, 1e-2, 3, (1, 5)),
    "caption": StandIn(captions(8, 16), 2, 40, 1e-2, 3, (1, 5)),
}
SCALE = PRESETS["smoke"]._replace(
    seeds=(1, 5), points=3, steps=40, batches=(2, 4), rates=(1e-3, 1e-2), grid_seeds=2,
    finetuning=TASK, standins=STANDINS,
)  # fmt: skip


def jitter(arm: str, seed: int) -> float:
    """A thousandth or two that differs by arm and seed, so that paired differences have a spread."""
    return 0.0005 * (zlib.crc32(f"{arm} {seed}".encode()) % 7)


def last_loss(spec: Spec) -> float:
    """The loss that a run ends at."""
    arm, lr = spec.tags["arm"], spec.optimizer.lr
    best = EFFECT["+sgg" if "+sgg" in arm else "+matched" if "+matched" in arm else ""] + 2.0
    middle = 1e-3 if arm.startswith("minilm") else 1e-2
    return best + 0.1 * abs(math.log2(lr / middle)) ** 2 + 0.01 * (spec.seed % 1000) + jitter(arm, spec.seed)


def record(spec: Spec) -> Record:
    """What ``spec`` leaves behind; AdamW on the grid diverges at the highest rate, with SGG it does not."""
    arm, last = spec.tags["arm"], last_loss(spec)
    lost = arm == "robust-adamw" and spec.optimizer.lr == max(SCALE.rates)
    x = [0.0, spec.steps / 2, float(spec.steps)]
    curves = {"validation_loss": Curve(x=x[:1], y=[UNTRAINED]) if lost else Curve(x=x, y=[UNTRAINED, last + 1, last])}
    measured = {part.name for part in spec.measures}
    if "test" in measured:
        curves["test_loss"] = Curve(x=x[-1:], y=[last])
        if arm.startswith(("minilm", "dpo", "caption")):
            curves["test_accuracy"] = Curve(x=x[-1:], y=[1 - last / 10])
    if "scale_range" in measured or arm.startswith("schedule"):
        steps = [float(k * SCALE.interval) for k in range(1, 21)]
        values = {"mean": MEAN_SCALE, "low": 0.9, "high": 1.5}
        curves |= {f"scale/{which}": Curve(x=steps, y=[value] * 20) for which, value in values.items()}
    return Record(
        run_id=run_id(spec, FINGERPRINT),
        spec=spec,
        fingerprint=FINGERPRINT,
        status="diverged" if lost else "finished",
        metrics={} if lost else {name: curve.y[-1] for name, curve in curves.items()},
        curves=curves,
        parameters=1000 * int(arm.partition(":")[2] or 1),
    )


def study_records() -> list[Record]:
    """Every record of a study of ``SCALE``, the plan asked until it names nothing new."""
    records: list[Record] = []
    while len(specs := study.plan(SCALE, records)) != len(records):
        records = [record(spec) for spec in specs]
    return records
