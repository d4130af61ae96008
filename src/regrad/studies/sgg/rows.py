"""What the records of the study of SGG say: arms, outcomes, scales. A run diverged as in the other studies."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from regrad.report.style import BLUE, GREEN, GREY, ORANGE
from regrad.results import Record, rows
from regrad.statistics.intervals import Interval, paired_interval
from regrad.statistics.tuning import Choice, choose

SGG, CONTROL = "+sgg", "+matched"
BASES = ("adamw", "adafactor", "lamb", "came", "lora")
NAMES = {"adamw": "AdamW", "adafactor": "Adafactor", "lamb": "LAMB", "came": "CAME", "lora": "LoRA"}
COLORS = {"": GREY, SGG: BLUE, CONTROL: ORANGE}
MARKERS = {"": "o", SGG: "D", CONTROL: "s"}
DEFAULT = f"adamw{SGG}:1"


def of_part(records: Iterable[Record], part: str) -> list[Record]:
    """Return the records of ``pretraining``, ``variants``, ``ablations``, ``robustness`` or ``finetuning``."""
    return [record for record in records if record.spec.tags["part"] == part]


def diverged(record: Record) -> bool:
    """Whether a run became non-finite, or ended above the validation loss of its untrained model."""
    losses = record.curves["validation_loss"].y if "validation_loss" in record.curves else []
    return record.diverged or not losses or losses[-1] > losses[0]


def runs(records: Iterable[Record], arm: str, phase: str = "fresh") -> list[Record]:
    """Return the runs of an arm, by seed; an arm that two parts share is counted once."""
    found = {r.run_id: r for r in records if (r.spec.tags["arm"], r.spec.tags["phase"]) == (arm, phase)}
    return sorted(found.values(), key=lambda record: record.spec.seed)


def arms(records: Iterable[Record], part: str) -> list[str]:
    """Return the arms of a part in the order of its plan."""
    return list(dict.fromkeys(record.spec.tags["arm"] for record in of_part(records, part)))


def suffix(arm: str) -> str:
    """Return ``+sgg``, ``+matched`` or nothing."""
    return next((s for s in (SGG, CONTROL) if s in arm), "")


def bare(arm: str) -> str:
    """Return the arm's base at its size: ``came:2`` of ``came+sgg:2``."""
    return arm.replace(SGG, "").replace(CONTROL, "")


def bases(records: Iterable[Record]) -> list[str]:
    """Return the unwrapped arms of the pre-training part, by base, then size."""
    found = [arm for arm in arms(records, "pretraining") if not suffix(arm)]
    return sorted(found, key=lambda arm: (BASES.index(arm.partition(":")[0]), arm))


def parameters(records: Iterable[Record], arm: str) -> int:
    """Return the trainable entries of an arm's model."""
    found = runs(records, arm) or runs(records, arm, "tune")
    return found[0].parameters


def label(records: Iterable[Record], arm: str) -> str:
    """Return how figures and tables call a pre-training arm."""
    base = bare(arm).partition(":")[0]
    own = {"": "", SGG: " + SGG", CONTROL: ", matched LR"}[suffix(arm)]
    return f"{NAMES[base]}{own}, {parameters(records, arm) / 1000:,.0f}k"


def choices(records: Iterable[Record], part: str = "pretraining") -> dict[str, Choice]:
    """Return the tuning of every arm of a part."""
    return choose(rows(of_part(records, part), "validation_loss", "tune"))


def ends(records: Iterable[Record], arm: str, metric: str = "test_loss") -> dict[int, float]:
    """Return an arm's final number by fresh seed; diverged runs are left out, and counted elsewhere."""
    return {r.spec.seed: r.metrics[metric] for r in runs(records, arm) if not diverged(r)}


def mean(records: Iterable[Record], arm: str, metric: str = "test_loss") -> Interval | None:
    """Return the interval of an arm's final number, None if all its runs diverged."""
    values = list(ends(records, arm, metric).values())
    return paired_interval(values) if values else None


def gap(records: Iterable[Record], arm: str, than: str, metric: str = "test_loss") -> Interval | None:
    """Return the paired interval of an arm's final number less another's, None without a shared seed."""
    mine, other = ends(records, arm, metric), ends(records, than, metric)
    shared = sorted(set(mine) & set(other))
    return paired_interval([mine[s] - other[s] for s in shared]) if shared else None


def scale_curve(records: Sequence[Record], arm: str, which: str = "mean") -> tuple[list[float], list[float]]:
    """Return steps and the mean over seeds of an arm's recorded scale; empty where it has none."""
    curves = [r.curves[f"scale/{which}"] for r in runs(records, arm) if f"scale/{which}" in r.curves]
    full = [c for c in curves if len(c.x) == max(len(c.x) for c in curves)]
    return (full[0].x, [fmean(ys) for ys in zip(*(c.y for c in full), strict=True)]) if full else ([], [])


def mean_scale(records: Sequence[Record], arm: str) -> float:
    """Return the mean scale over an arm's runs, as the plan takes it; nan where none is recorded."""
    _, points = scale_curve(records, arm)
    return fmean([1.0, *points[:-1]]) if points else math.nan


def losses(records: Iterable[Record], arm: str) -> dict[tuple[int, float], list[float]]:
    """Return batch size and learning rate to the last validation losses of a robustness arm; inf if diverged."""
    found: dict[tuple[int, float], list[float]] = {}
    for r in runs(records, arm, "grid"):
        where = (r.spec.batch_size, r.spec.optimizer.lr)
        found.setdefault(where, []).append(math.inf if diverged(r) else r.metrics["validation_loss"])
    return dict(sorted(found.items()))


GAIN, LOSS = GREEN, ORANGE
