"""What the DGS study reads off its runs: cells of its factorials, time to the target, the cost of a wrong rate."""

import math
from statistics import fmean
from typing import NamedTuple

from regrad.report.outcomes import Outcomes
from regrad.studies.dgs.arms import IMAGES, SPIKING

MODEL_NAMES = {"resnet20": "ResNet-20", "resnet32": "ResNet-32"}
RESETS = ("none", "soft", "hard")
COMPARED = ("lars", "adam", "S1")
SLACK = 0.05  # nats above what the slowest of COMPARED ends at in tuning, so that all can get there


class Score(NamedTuple):
    """What a task beyond CIFAR is judged by, and how tables say it."""

    task: str
    metric: str
    unit: str
    digits: int


SCORES = {
    "language": Score("language model", "test_loss", "nats per byte", 3),
    "transfer": Score("transfer", "test_accuracy", "%", 1),
    "own": Score("own network", "test_accuracy", "%", 1),
}


def image_runs(outcomes: Outcomes, arm: str, model: str) -> Outcomes:
    return outcomes.part(*IMAGES).fresh.where(model=model).arm(arm)


def reset_runs(outcomes: Outcomes, arm: str, model: str, reset: str) -> Outcomes:
    """Return an arm's runs in one cell of model × reset of the optimizer; those without one are the main runs."""
    if reset == "none":
        return image_runs(outcomes, arm, model)
    return outcomes.part("reset").where(model=model, reset=reset).arm(arm)


def spiking_runs(outcomes: Outcomes, arm: str, model: str, reset: str) -> Outcomes:
    return outcomes.part(*SPIKING).fresh.where(model=model, reset=reset).arm(arm)


def spiking_cells(outcomes: Outcomes) -> list[tuple[str, str]]:
    ran = {(run.spec.tags["model"], run.spec.tags["reset"]) for run in outcomes.part(*SPIKING).fresh}
    return [(model, reset) for model in MODEL_NAMES for reset in RESETS if (model, reset) in ran]


def geometry_runs(outcomes: Outcomes) -> Outcomes:
    """Return the runs along which the readings' geometry was measured."""
    runs = outcomes.part("images").fresh.where(model="resnet20")
    return Outcomes(run for run in runs if any(part.name == "reading_geometry" for part in run.spec.measures))


def target(outcomes: Outcomes, model: str = "resnet20") -> float:
    """Return the validation loss to reach on a network, from its tuning or, where it has none, from the other's."""
    return outcomes.part(tuning_part(outcomes, model)).target(COMPARED, SLACK)


def tuning_part(outcomes: Outcomes, model: str) -> str:
    apart = model == "resnet32" and len(outcomes.part("images32"))
    return IMAGES[bool(apart)]


def budgets(outcomes: Outcomes) -> list[int]:
    """Return the numbers of steps of the shallower network beside that of the comparison, the fewest first."""
    return sorted({run.spec.steps for run in outcomes.part("budget")})


def budget_runs(outcomes: Outcomes, arm: str, steps: int) -> Outcomes:
    return Outcomes([run for run in outcomes.part("budget").arm(arm) if run.spec.steps == steps])


def off_optimum(outcomes: Outcomes, arm: str) -> dict[int, float]:
    """Return by how much the final validation loss rises on average over learning rates off the optimum, by seed.

    A seed with a run that became non-finite is infinite. A run that merely ended above its untrained model has the rise
    that it has: that a wrong rate costs much is what is measured here.
    """
    # Seed by seed: the runs off the optimum share weights and data with the one at it.
    optimum = image_runs(outcomes, arm, "resnet20").ends("validation_loss")
    by_seed = outcomes.part("stability").arm(arm).grouped(lambda run: run.spec.seed)
    return {
        int(seed): fmean(run.metrics.get("validation_loss", math.inf) for run in runs) - optimum[int(seed)]
        for seed, runs in by_seed.items()
        if seed in optimum
    }
