"""The rows that the claims on SGG are decided from: pure functions of records, each row with the runs behind it.

* ``test_loss`` and ``test_accuracy`` of the chosen rates, the variants, the ablations and the matched rates.
* ``steps_to_target``: steps until the validation loss of a run of pre-training is what the tuned base ends at in its
  tuning runs, plus 0.05 nats. Tuning alone fixes the target, so that no fresh run chooses what it is measured by.
* ``diverged_on_grid`` of every run of the grid of learning rates and batch sizes.
* ``grid_spread``: how much the final validation loss rises, on average over that grid, above the lowest at the same
  batch size, by arm and seed. It is 0 for an optimizer that ends alike at every learning rate.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from regrad.results import Record
from regrad.studies.sgg.arms import ROBUSTNESS, SGGArm
from regrad.studies.sgg.outcomes import PRETRAINED, SGGOutcomes

METRICS = ("test_loss", "test_accuracy")
SLACK = 0.05  # nats above the base's end
Row = dict[str, Any]


def claim_rows(records: Sequence[Record]) -> list[Row]:
    outcomes = SGGOutcomes(records)
    return [*end_rows(outcomes.fresh), *speed_rows(outcomes), *grid_rows(outcomes)]


def about(record: Record, metric: str) -> Row:
    tags = record.spec.tags
    runs = ((tags["part"], tags["arm"]),)
    return {"arm": tags["arm"], "seed": record.spec.seed, "metric": metric, "diverged": record.diverged, "runs": runs}


def end_rows(fresh: SGGOutcomes) -> list[Row]:
    ends = {}
    for record in fresh:
        for metric in METRICS:
            value = record.metrics.get(metric)
            # A diverged run has no final number and must count, once: under the loss, which every task has.
            if value is not None or (record.diverged and metric == "test_loss"):
                row = about(record, metric)
                ends[row["arm"], row["seed"], metric] = row | {"value": value}
    return list(ends.values())


def target(outcomes: SGGOutcomes, plain: SGGArm) -> float:
    """Return the loss that a base is to reach, and SGG around it; inf without tuning runs."""
    return outcomes.target([plain.name], SLACK)


def speed_rows(outcomes: SGGOutcomes) -> Iterator[Row]:
    for comparison in PRETRAINED:
        loss = target(outcomes, comparison.plain)
        for arm in comparison.arms if math.isfinite(loss) else ():
            fresh = outcomes.fresh.arm(arm.name)
            for seed, steps in fresh.steps_to(loss).items():
                value = steps if math.isfinite(steps) else None
                yield about(fresh.by_seed[seed], "steps_to_target") | {"diverged": False, "value": value}


def grid_rows(outcomes: SGGOutcomes) -> Iterator[Row]:
    for arm in ROBUSTNESS.arms:
        runs = outcomes.arm(arm.name)
        yield from (about(record, "diverged_on_grid") | {"value": None} for record in runs)
        for of_seed in runs.grouped(lambda record: record.spec.seed).values():
            yield about(of_seed.records[0], "grid_spread") | {"diverged": False, "value": grid_spread(of_seed)}


def grid_spread(runs: SGGOutcomes) -> float | None:
    """Return the mean rise over the grid; None, the worst there is, where a run became non-finite."""
    if not all(record.finite for record in runs):
        return None
    cells = runs.grouped(lambda record: record.spec.batch_size).values()
    losses = ([record.metrics["validation_loss"] for record in cell] for cell in cells)
    return fmean(loss - min(column) for column in losses for loss in column)
