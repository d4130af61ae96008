"""What the records of the DGS study say: runs by part, model and arm, and the numbers taken from them."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from regrad.results import Record, rows
from regrad.statistics.tuning import Choice, choose
from regrad.studies.micro_adam.rows import TARGET_SLACK, diverged, of_part, steps_to

MODELS = ("resnet20", "resnet32")
MODEL_NAMES = {"resnet20": "ResNet-20", "resnet32": "ResNet-32"}
RESETS = ("none", "soft", "hard")
TASKS = ("language", "transfer", "own")
COMPARED = ("lars", "adam", "S1")  # the target loss is one that all of them reach in tuning
BASELINES = ("sgd", "momentum", "adam", "adamw", "lars", "sign")
READINGS = ("E1", "E1L", "E1T", "E4", "S1", "S1T")
ORDER = (*BASELINES, *READINGS, "lars+dgs", "adam+dgs")


def runs(records: Iterable[Record], part: str, arm: str, **tags: str) -> dict[int, Record]:
    """Return an arm's fresh-seed runs of a part by seed; ``tags`` say which model, reset or multiple."""
    wanted = {"arm": arm, **tags}
    return {
        record.spec.seed: record
        for record in sorted(of_part(records, part), key=lambda r: r.spec.seed)
        if record.spec.tags["phase"] != "tune" and wanted.items() <= record.spec.tags.items()
    }


def arms(records: Iterable[Record], part: str) -> list[str]:
    """Return the arms of a part, baselines first, an arm that somebody added last."""
    found = {record.spec.tags["arm"] for record in of_part(records, part)}
    return [arm for arm in ORDER if arm in found] + sorted(found - set(ORDER))


def cells(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return (model, membrane reset) of the spiking networks that ran."""
    found = {
        (r.spec.tags["model"], r.spec.tags["reset"])
        for r in of_part(records, "spiking")
        if r.spec.tags["phase"] == "fresh"
    }
    return sorted(found, key=lambda cell: (MODELS.index(cell[0]), RESETS.index(cell[1])))


def factorial(records: Iterable[Record], arm: str, model: str, reset: str) -> dict[int, Record]:
    """Return an arm's runs in one cell of model × reset of the optimizer; without a reset they are the main runs."""
    if reset == "none":
        return runs(records, "images", arm, model=model)
    return runs(records, "reset", arm, model=model, reset=reset)


def choices(records: Iterable[Record], part: str) -> dict[str, Choice]:
    """Return the tuning of every arm of a part."""
    return choose(rows(of_part(records, part), "validation_loss", "tune"))


def ends(found: dict[int, Record], metric: str) -> dict[int, float]:
    """Return a final number by seed, accuracies in per cent; runs that became non-finite are left out."""
    factor = 100.0 if metric.endswith("accuracy") else 1.0
    return {seed: factor * r.metrics[metric] for seed, r in found.items() if metric in r.metrics}


def differences(mine: dict[int, float], others: dict[int, float]) -> list[float]:
    """Return paired differences at shared seeds."""
    return [mine[seed] - others[seed] for seed in sorted(set(mine) & set(others))]


def target(records: Sequence[Record]) -> float:
    """Return the validation loss to reach: what the slowest of LARS, Adam and S1 ends at in tuning, plus 0.05."""
    found = choices(records, "images")
    best = [found[arm].means[lr] for arm in COMPARED if arm in found and (lr := found[arm].best) is not None]
    return max(best, default=math.inf) + TARGET_SLACK


def off_optimum(records: Sequence[Record], arm: str) -> dict[int, float]:
    """Return by how much the final validation loss rises on average over learning rates off the optimum, by seed.

    A seed with a run that became non-finite is infinite.
    """
    at_optimum = ends(runs(records, "images", arm, model="resnet20"), "validation_loss")
    found: dict[int, list[float]] = {}
    for record in of_part(records, "stability"):
        if record.spec.tags["arm"] == arm:
            found.setdefault(record.spec.seed, []).append(record.metrics.get("validation_loss", math.inf))
    return {seed: fmean(losses) - at_optimum[seed] for seed, losses in found.items() if seed in at_optimum}


def lost(found: dict[int, Record]) -> int:
    """Return how many runs diverged: became non-finite, or ended above the loss of the untrained model."""
    return sum(map(diverged, found.values()))


def speed(records: Sequence[Record], arm: str, model: str) -> dict[int, float]:
    """Return the steps to the target loss by seed, inf for a miss."""
    loss = target(records)
    return {seed: steps_to(r, loss) for seed, r in runs(records, "images", arm, model=model).items()}
