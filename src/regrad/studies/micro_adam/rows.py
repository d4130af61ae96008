"""What the records of the study of Adam's preconditioner say: arms, outcomes, stability.

A run counts as *diverged* if it became non-finite, or if its last validation loss is above the loss of the
untrained model it started from. The same rule holds for results, stability and scaling.
"""

import math
from collections.abc import Iterable
from itertools import pairwise, takewhile

from regrad.results import Record, rows
from regrad.statistics.tuning import Choice, choose

ORDER = ("micro_adam_msq", "adam", "c=0.25", "micro_adam", "c=4", "micro_adam_var")  # c rising
SUFFIXES = ("", "clip", "decay")
COMPARED = ("adam", "micro_adam", "micro_adam_var")
TARGET_SLACK = 0.05  # nats above what the slowest of COMPARED ends at in tuning, so that all can get there


def of_part(records: Iterable[Record], part: str) -> list[Record]:
    """Return the records of a part: ``language``, ``images``, ``stability`` or ``scaling``."""
    return [record for record in records if record.spec.tags["part"] == part]


def diverged(record: Record) -> bool:
    """Whether a run became non-finite, or ended above the validation loss of its untrained model."""
    if record.diverged:
        return True
    losses = record.curves["validation_loss"].y
    return losses[-1] > losses[0]


def rank(arm: str) -> tuple[int, int]:
    """Return an arm's place in tables and legends: plain arms by rising c, then clipped, then decayed."""
    name, _, suffix = arm.partition("+")
    return SUFFIXES.index(suffix), ORDER.index(name)


def arms(records: Iterable[Record], part: str = "language") -> list[str]:
    """Return the arms of a part in their order."""
    return sorted({record.spec.tags["arm"] for record in of_part(records, part)}, key=rank)


def fresh(records: Iterable[Record], arm: str, part: str = "language") -> list[Record]:
    """Return the fresh-seed runs of an arm, by seed."""
    found = [r for r in of_part(records, part) if (r.spec.tags["arm"], r.spec.tags["phase"]) == (arm, "fresh")]
    return sorted(found, key=lambda record: record.spec.seed)


def choices(records: Iterable[Record], part: str = "language") -> dict[str, Choice]:
    """Return the tuning of every arm of a part."""
    return choose(rows(of_part(records, part), "validation_loss", "tune"))


def end_losses(records: Iterable[Record], arm: str, part: str = "language") -> dict[int, float]:
    """Return an arm's test loss by fresh seed; diverged runs are left out, and counted elsewhere."""
    return {r.spec.seed: r.metrics["test_loss"] for r in fresh(records, arm, part) if not diverged(r)}


def target(records: Iterable[Record]) -> float:
    """Return the validation loss to reach, fixed by the tuning runs alone; inf where none ended in a number.

    It is what the slowest of Adam, MicroAdam and MicroAdamVar ends at, at its best learning rate, plus 0.05.
    """
    found = choices(records)
    best = [found[arm].means[lr] for arm in COMPARED if arm in found and (lr := found[arm].best) is not None]
    return max(best, default=math.inf) + TARGET_SLACK


def steps_to(record: Record, loss: float) -> float:
    """Return after how many steps the validation loss crosses ``loss``, linear between evaluations; else inf."""
    curve = record.curves["validation_loss"]
    points = list(zip(curve.x, curve.y, strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 <= loss < y0:
            return x0 + (x1 - x0) * (y0 - loss) / (y0 - y1)
    return math.inf


def largest_stable(runs: Iterable[Record]) -> float:
    """Return the largest multiple of the optimum below which no run of one arm and seed diverged, 1 if none is.

    The runs at the optimum itself are the fresh-seed runs.
    """
    ordered = sorted(runs, key=multiple)
    stable = takewhile(lambda record: not diverged(record), ordered)
    return max((multiple(record) for record in stable), default=1.0)


def multiple(record: Record) -> float:
    """Return a stability run's learning rate over its arm's optimum."""
    return float(record.spec.tags["multiple"])


def stability(records: Iterable[Record], arm: str) -> dict[int, list[Record]]:
    """Return an arm's stability runs by seed."""
    found: dict[int, list[Record]] = {}
    for record in of_part(records, "stability"):
        if record.spec.tags["arm"] == arm:
            found.setdefault(record.spec.seed, []).append(record)
    return dict(sorted(found.items()))
