"""What the claims on Adam's preconditioner are decided from: speed, stability and scaling on the language task."""

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from regrad.report.outcomes import Outcomes
from regrad.results import Record, row
from regrad.statistics.tuning import tuning_value
from regrad.studies.micro_adam.arms import HEADLINE
from regrad.studies.micro_adam.scaling import regret_rows

TARGET_SLACK = 0.05  # nats, so that runs on other seeds can get there too


def target(outcomes: Outcomes) -> float:
    """Return the loss to reach: the slack above the highest end of a tuning run of the named methods at their rates.

    A method whose tuning left no rate asks for none; inf without any.
    """
    language = outcomes.part("language")
    chosen = {arm: choice.best for arm, choice in language.choices().items() if arm in HEADLINE}
    at_best = (run for run in language.tuning if run.spec.optimizer.lr == chosen.get(run.spec.tags["arm"]))
    return max((tuning_value(row(run, "validation_loss")) for run in at_best), default=math.inf) + TARGET_SLACK


def multiple(record: Record) -> float:
    return float(record.spec.tags["multiple"])


def largest_stable(runs: Iterable[Record]) -> float:
    """Return the largest multiple of the optimum below which no run of one arm and seed diverged, 1 if none is.

    The runs at the optimum itself are the fresh-seed runs.
    """
    # Up to the first that diverged: one that survives above it by luck is not stable.
    stable = takewhile(lambda record: not record.diverged, sorted(runs, key=multiple))
    return max(map(multiple, stable), default=1.0)


def stable_limits(outcomes: Outcomes, arm: str) -> dict[int, float]:
    by_seed = outcomes.part("stability").arm(arm).grouped(lambda run: run.spec.seed)
    return {seed: largest_stable(runs) for seed, runs in by_seed.items()}


def claim_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    outcomes, rows = Outcomes(records), []
    loss = target(outcomes)
    for arm in outcomes.part("language").arms:
        rows += speed_rows(outcomes.part("language").fresh.arm(arm), loss)
        rows += stability_rows(outcomes, arm)
    return regret_rows(outcomes) + rows


def speed_rows(fresh: Outcomes, loss: float) -> list[dict[str, Any]]:
    rows, steps = [], fresh.steps_to(loss)
    for seed, run in fresh.by_seed.items():
        about = {"arm": run.spec.tags["arm"], "seed": seed, "diverged": run.diverged, "runs": fresh.runs}
        rows.append(about | {"metric": "test_loss", "value": run.metrics.get("test_loss")})
        rows.append(about | {"metric": "steps_to_target", "value": steps[seed]})
    return rows


def stability_rows(outcomes: Outcomes, arm: str) -> list[dict[str, Any]]:
    about: dict[str, Any] = {"arm": arm, "runs": outcomes.part("stability").arm(arm).runs}
    grid = [
        about | {"seed": run.spec.seed, "diverged": run.diverged, "metric": "diverged_on_grid", "value": None}
        for run in outcomes.part("stability").arm(arm)
    ]
    limits = [
        about | {"seed": seed, "diverged": False, "metric": "max_stable_relative_lr", "value": limit}
        for seed, limit in stable_limits(outcomes, arm).items()
    ]
    return grid + limits
