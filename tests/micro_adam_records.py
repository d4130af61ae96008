"""Records of the study of Adam's preconditioner, made by hand: every number follows from arm, rate and seed."""

import math
import zlib
from collections.abc import Callable

from regrad.results import Curve, Fingerprint, Record, Spec, run_id
from regrad.studies.micro_adam.arms import ADAM, ARMS
from regrad.studies.micro_adam.plan import center, make, plan
from regrad.studies.micro_adam.sizes import PRESETS, Sizes

FINGERPRINT = Fingerprint(code="c0de", data="da7a", torch="2.13.0", device="cpu")
UNTRAINED = 5.5
# Losses at the best rate by preconditioner, falling with c; the rules' distance a doubling of B; from which multiple
# of the optimum an arm diverges.
LOSS = {"mean_square": 2.0, "adam": 2.1, 0.25: 2.2, "micro": 2.3, 4.0: 2.4, "variance": 2.5}
APART = {"lr~B^0": 0.2, "lr~B^0.5": 0.05, "lr~B^1": 0.3}
LIMIT = {"adam": 100.0, "micro_adam": 20.0, "micro_adam_var": 4.0, "micro_adam+clip": 50.0, "micro_adam_var+clip": 10.0}
# With mu^2 = 1 and sigma^2 = 8, the shares are 1/3 at B = 4, 1/2 at 8 and 2/3 at 16.
SPLIT = {"mean_square": 1.0, "variance": 8.0}
LAYERS = ("embedding.weight", "blocks.0.attention.query.weight")
SIZES = PRESETS["smoke"]._replace(
    seeds=(1, 5),
    points=3,
    batch_sizes=(4, 8, 16),
    multiples=(2.0, 8.0, 32.0),
    stability_seeds=8,
    batch_points=0,
    budget=0,
)
TUNED = SIZES._replace(batch_points=3, budget=4, budget_seeds=2)

Lost = Callable[[Spec], bool]


def adam_spec(sizes: Sizes = SIZES, **tags: str) -> Spec:
    """A fresh run of Adam on the language task, its tags changed."""
    spec = make(sizes, "language", ADAM, lr=1e-3, seed=0, phase="fresh")
    return spec.model_copy(update={"tags": spec.tags | tags})


def jitter(arm: str, seed: int) -> float:
    """A thousandth or two that differs by arm and seed, so that paired differences have a spread."""
    return 0.0005 * (zlib.crc32(f"{arm} {seed}".encode()) % 7)


def losses(spec: Spec) -> list[float]:
    """Validation losses at 0 and at the spec's evaluations."""
    tags, seed, lr = spec.tags, spec.seed, spec.optimizer.lr
    if tags["part"] == "stability":
        last = 6.0 if float(tags["multiple"]) >= LIMIT[tags["arm"]] else 3.0
        return [UNTRAINED, last, last]
    if tags["part"] == "scaling":
        own = SIZES.language.batch_size
        last = 2.1 + 0.001 * (seed % 1000) + APART[tags["arm"]] * abs(math.log2(spec.batch_size / own))
        last += jitter(tags["arm"] + str(spec.batch_size), seed)
    elif tags["part"] == "batches":
        last = 2.1 + 0.001 * (seed % 1000) + 0.1 * abs(math.log2(lr / (8e-3 * math.sqrt(spec.batch_size / 8))))
    elif tags["part"] == "budget":
        last = LOSS[spec.optimizer.options["preconditioner"]] - 0.5 + 0.01 * seed + jitter(tags["arm"], seed)
    else:
        notches = abs(math.log2(lr / center(ARMS[tags["arm"]], SIZES.tasks[tags["part"]], SIZES.beta2)))
        last = LOSS[spec.optimizer.options["preconditioner"]] + 0.1 * notches
        last += 0.01 * (seed % 1000) + jitter(tags["arm"], seed)
    count = spec.evaluations
    return [UNTRAINED + (last - UNTRAINED) * k / count for k in range(count + 1)]


def record(spec: Spec, lost: bool = False) -> Record:
    """What ``spec`` leaves behind; a lost one became non-finite after its first evaluation."""
    y = losses(spec)
    x = [spec.steps * k / (len(y) - 1) for k in range(len(y))]
    curves = {"validation_loss": Curve(x=x[:1], y=y[:1]) if lost else Curve(x=x, y=y)}
    measured = {part.name for part in spec.measures}
    if not lost and "test" in measured:
        curves["test_loss"] = Curve(x=x[-1:], y=y[-1:])
    if not lost and "moment_split" in measured:
        for layer in LAYERS:
            curves |= {f"split/{layer}/{k}": Curve(x=[0.0, x[-1]], y=[v, v]) for k, v in SPLIT.items()}
    if not lost and "state_mean" in measured:
        curves["clipped_share"] = Curve(x=x[1:], y=[0.25] * (len(x) - 2) + [0.5])
    return Record(
        run_id=run_id(spec, FINGERPRINT),
        spec=spec,
        fingerprint=FINGERPRINT,
        status="diverged" if lost else "finished",
        metrics={} if lost else {name: curve.y[-1] for name, curve in curves.items()},
        curves=curves,
        parameters=115_008,
    )


def one_look(part: str, arm: str) -> int:
    return SIZES.seeds[1]


def planned(records: list[Record]) -> list[Spec]:
    return plan(SIZES, records, one_look)


def study_records(lost: Lost | None = None, sizes: Sizes = SIZES) -> list[Record]:
    """All runs of a small study, as the runner would ask for them; ``lost`` says which diverged."""
    records: list[Record] = []
    while len(specs := plan(sizes, records, lambda part, arm: sizes.seeds[1])) > len(records):
        records = [record(spec, bool(lost and lost(spec))) for spec in specs]
    return records


def tuned_records() -> list[Record]:
    """The runs of a preset that tunes Adam at every batch size and trains longer too."""
    return study_records(sizes=TUNED)
