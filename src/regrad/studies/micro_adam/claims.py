"""The rows that the claims on Adam's preconditioner are decided from."""

from collections.abc import Sequence
from typing import Any

from regrad.results import Record
from regrad.studies.micro_adam.rows import arms, diverged, fresh, largest_stable, stability, steps_to, target
from regrad.studies.micro_adam.scaling import scaling_rows


def claim_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what the claims are decided from; language task only."""
    found, loss = scaling_rows(records), target(records)
    for arm in arms(records):
        for run in fresh(records, arm):
            about = {"arm": arm, "seed": run.spec.seed, "diverged": diverged(run)}
            found.append(about | {"metric": "test_loss", "value": run.metrics.get("test_loss")})
            found.append(about | {"metric": "steps_to_target", "value": steps_to(run, loss)})
        for seed, runs in stability(records, arm).items():
            grid = [{"arm": arm, "seed": seed, "diverged": diverged(r), "value": None} for r in runs]
            found += [row | {"metric": "diverged_on_grid"} for row in grid]
            about = {"arm": arm, "seed": seed, "diverged": False, "metric": "max_stable_relative_lr"}
            found.append(about | {"value": largest_stable(runs)})
    return found
