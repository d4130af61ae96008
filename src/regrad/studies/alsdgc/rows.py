"""What the records of the study of ALSDGC say: arms, outcomes, speed, width, recovery.

A run counts as *diverged* if it became non-finite, or if its last validation loss is above the loss of the
untrained model it started from.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise

from regrad.results import Curve, Record, rows
from regrad.statistics.tuning import Choice, choose

CLIPS = ("clip-0.1", "clip-0.3", "clip-1", "clip-3", "clip-10")
ORDER = ("none", "lr-x2", *CLIPS, "V0", "V1", "V2", "V3", "V4", "placebo", "grad_scaler")  # then by name
TASKS = ("plain", "resnet", "rnn", "lstm", "transformer", "translation", "imagenet")
COMPARED = ("none", "clip-1", "V4")
TARGET_SLACK = 0.05  # nats above what the slowest of COMPARED ends at in tuning, so that all can get there
TOLERANCE = 0.05  # of the arm's best loss: inside it a learning rate counts as good
RECOVERED = 0.02  # nats above the loss before a bad batch


def of_part(records: Iterable[Record], part: str) -> list[Record]:
    """Return the records of a part: the name of a task, or ``width``, ``fractions``, ``spikes``, ``adam``, ``fp16``."""
    return [record for record in records if record.spec.tags["part"] == part]


def diverged(record: Record) -> bool:
    """Whether a run became non-finite, or ended above the validation loss of its untrained model."""
    if record.diverged:
        return True
    losses = record.curves["validation_loss"].y
    return losses[-1] > losses[0]


def rank(arm: str) -> tuple[int, str]:
    """Return an arm's place in tables and legends."""
    return (ORDER.index(arm) if arm in ORDER else len(ORDER)), arm


def arms(records: Iterable[Record], part: str) -> list[str]:
    """Return the arms of a part in their order."""
    return sorted({record.spec.tags["arm"] for record in of_part(records, part)}, key=rank)


def tasks(records: Iterable[Record]) -> list[str]:
    """Return the tasks that ran."""
    found = {record.spec.tags["part"] for record in records}
    return [task for task in TASKS if task in found]


def fresh(records: Iterable[Record], arm: str, part: str) -> list[Record]:
    """Return an arm's runs of a part on fresh seeds, by seed."""
    found = [r for r in of_part(records, part) if r.spec.tags["arm"] == arm and r.spec.tags["phase"] != "tune"]
    return sorted(found, key=lambda record: record.spec.seed)


def choices(records: Iterable[Record], part: str) -> dict[str, Choice]:
    """Return the tuning of every arm of a task."""
    return choose(rows(of_part(records, part), "validation_loss", "tune"))


def best_fixed(records: Iterable[Record], part: str) -> str:
    """Return the fixed norm that tuned best on a task; the default where none ended in a number."""
    found = choices(records, part)
    means = {arm: found[arm].means[lr] for arm in CLIPS if arm in found and (lr := found[arm].best) is not None}
    return min(means, key=lambda arm: means[arm], default="clip-1")


def end_losses(records: Iterable[Record], arm: str, part: str) -> dict[int, float]:
    """Return an arm's test loss by fresh seed; diverged runs are left out, and counted elsewhere."""
    runs = fresh(records, arm, part)
    return {r.spec.seed: r.metrics["test_loss"] for r in runs if not diverged(r) and "test_loss" in r.metrics}


def target(records: Iterable[Record], part: str) -> float:
    """Return the validation loss to reach on a task, fixed by tuning runs; inf where none ended in a number."""
    found = choices(records, part)
    best = [found[arm].means[lr] for arm in COMPARED if arm in found and (lr := found[arm].best) is not None]
    return max(best, default=math.inf) + TARGET_SLACK


def crossing(curve: Curve, level: float) -> float:
    """Return where a curve first falls to ``level``, linear between its points; inf where it never does."""
    points = list(zip(curve.x, curve.y, strict=True))
    if points and points[0][1] <= level:
        return points[0][0]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 <= level < y0:
            return x0 + (x1 - x0) * (y0 - level) / (y0 - y1)
    return math.inf


def value_at(curve: Curve, place: float) -> float:
    """Return a curve's value at ``place``, linear between its points."""
    for (x0, y0), (x1, y1) in pairwise(zip(curve.x, curve.y, strict=True)):
        if x0 <= place <= x1:
            return y0 + (y1 - y0) * (place - x0) / (x1 - x0)
    return math.inf


def steps_to(record: Record, loss: float) -> float:
    """Return after how many steps, at least 1, the validation loss falls to ``loss``; else inf."""
    return max(1.0, crossing(record.curves["validation_loss"], loss))


def matched(runs: Mapping[str, Record]) -> dict[str, float]:
    """Return each arm's test loss where its training loss first falls to one level, for runs of one seed.

    The level is the highest final training loss among the runs that did not diverge.
    """
    ended = {arm: run for arm, run in runs.items() if not diverged(run) and "train_loss" in run.curves}
    level = max((min(run.curves["train_loss"].y) for run in ended.values()), default=math.inf)
    return {
        arm: value_at(run.curves["test_loss"], crossing(run.curves["train_loss"], level)) for arm, run in ended.items()
    }


def multiple(record: Record) -> float:
    """Return a run's learning rate over its arm's optimum; 1 for a fresh-seed run."""
    return float(record.spec.tags.get("multiple", "1"))


def width(runs: Iterable[Record]) -> float:
    """Return the decades around one arm's and seed's best loss within 5 % of it, linear in log10 of the rate.

    Outside the grid nothing is assumed: the width is at most the grid's.
    """
    ordered = sorted(runs, key=multiple)
    losses = [math.inf if diverged(r) else r.curves["validation_loss"].y[-1] for r in ordered]
    best = min(range(len(losses)), key=lambda k: losses[k])
    if math.isinf(losses[best]):
        return 0.0
    limit, places = losses[best] * (1 + TOLERANCE), [math.log10(multiple(r)) for r in ordered]
    return reach(places[best:], losses[best:], limit) + reach(
        [-x for x in places[best::-1]], losses[best::-1], limit
    )


def reach(places: list[float], losses: list[float], limit: float) -> float:
    """Return how far from the first of rising ``places`` the loss stays below ``limit``."""
    for k in range(1, len(places)):
        if losses[k] > limit:
            share = 0.0 if math.isinf(losses[k]) else (limit - losses[k - 1]) / (losses[k] - losses[k - 1])
            return places[k - 1] + share * (places[k] - places[k - 1]) - places[0]
    return places[-1] - places[0]


def widths(records: Iterable[Record], arm: str) -> dict[int, list[Record]]:
    """Return an arm's runs over learning rates on the plain network, the fresh-seed runs among them, by seed."""
    found: dict[int, list[Record]] = {}
    kept = list(records)
    for record in [*fresh(kept, arm, "width"), *fresh(kept, arm, "plain")]:
        found.setdefault(record.spec.seed, []).append(record)
    return {seed: runs for seed, runs in sorted(found.items()) if len(runs) > 1}


def recovery(record: Record) -> float:
    """Return the mean steps, over bad batches, until the validation loss is back within 0.02 nats of before.

    A run that never comes back counts as the steps left.
    """
    curve = record.curves["validation_loss"]
    by_step = dict(zip(curve.x, curve.y, strict=True))
    spikes = [float(step) for step in record.spec.problem.options["spike_steps"]]  # type: ignore[union-attr,arg-type]
    found = []
    for spike in spikes:
        before = by_step.get(spike, -math.inf)
        back = [x for x, y in by_step.items() if x > spike and y <= before + RECOVERED]
        found.append(min(back, default=float(record.spec.steps)) - spike)
    return sum(found) / len(found)

