"""The rows that the claims on DGS are decided from."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from regrad.report.outcomes import Outcomes
from regrad.results import Record
from regrad.studies.dgs.arms import IMAGES, SPIKING
from regrad.studies.dgs.quantities import (
    MODEL_NAMES,
    RESETS,
    SCORES,
    image_runs,
    off_optimum,
    reset_runs,
    spiking_cells,
    spiking_runs,
    target,
)

Row = dict[str, Any]


def claim_rows(records: Sequence[Record], passed: Iterable[Row] = ()) -> list[Row]:
    outcomes = Outcomes(records)
    rows = [*passed, *image_rows(outcomes), *reset_rows(outcomes), *spiking_rows(outcomes)]
    for arm in outcomes.part("stability").arms:
        behind = (("stability", arm), ("images", arm))
        about = {"arm": arm, "metric": "off_optimum_loss", "runs": behind, "tags": {"model": "resnet20"}}
        rows += number_rows(off_optimum(outcomes, arm), about)
    for task, score in SCORES.items():
        for arm in outcomes.part(task).arms:
            rows += end_rows(outcomes.part(task).fresh.arm(arm), f"{arm}@{task}", score.metric)
    return rows


def image_rows(outcomes: Outcomes) -> Iterator[Row]:
    for model in MODEL_NAMES:
        loss = target(outcomes, model)
        for arm in outcomes.part(*IMAGES).arms:
            runs = image_runs(outcomes, arm, model)
            yield from end_rows(runs, f"{arm}@{model}", "test_accuracy")
            about = {"arm": f"{arm}@{model}", "metric": "steps_to_target", **source(runs)}
            yield from number_rows(runs.steps_to(loss), about)


def reset_rows(outcomes: Outcomes) -> Iterator[Row]:
    for model in MODEL_NAMES:
        for arm in outcomes.part("reset").arms:
            # Without "none", which the main runs are: they have rows of their own above.
            for reset in RESETS[1:]:
                yield from end_rows(reset_runs(outcomes, arm, model, reset), f"{arm}@{model}/{reset}", "test_accuracy")


def spiking_rows(outcomes: Outcomes) -> Iterator[Row]:
    for model, reset in spiking_cells(outcomes):
        for arm in outcomes.part(*SPIKING).arms:
            runs = spiking_runs(outcomes, arm, model, reset)
            yield from end_rows(runs, f"{arm}@{model}/{reset}", "test_accuracy", "spiking_accuracy")
            yield from end_rows(runs, f"{arm}@{model}/{reset}", "test_spikes", "spikes")


def end_rows(runs: Outcomes, arm: str, metric: str, name: str = "") -> list[Row]:
    """Return the rows of a final number, accuracies in per cent; a diverged run has none."""
    ends, about = runs.ends(metric), {"arm": arm, "metric": name or metric, **source(runs)}
    return [
        about | {"seed": seed, "diverged": run.diverged, "value": ends.get(seed)} for seed, run in runs.by_seed.items()
    ]


def number_rows(values: Mapping[int, float], about: Row) -> list[Row]:
    """Return the rows of numbers by seed; an infinite one is a miss."""
    return [
        about | {"diverged": False, "seed": seed, "value": value if math.isfinite(value) else None}
        for seed, value in values.items()
    ]


def source(runs: Outcomes) -> Row:
    """Return which runs a row comes from: parts and arms, and the cell where a part has several."""
    cells = {name: runs.values(name) for name in ("model", "reset")}
    return {"runs": runs.runs, "tags": {name: values[0] for name, values in cells.items() if len(values) == 1}}
