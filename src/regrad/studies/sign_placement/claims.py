"""What the claims are decided from."""

from collections.abc import Sequence
from typing import Any

from regrad.report.outcomes import FRESH
from regrad.results import Record, rows
from regrad.studies.sign_placement.arms import REFERENCE
from regrad.studies.sign_placement.noise import predicted_snr, reference_runs


def claim_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    losses = [
        {**row, "metric": "test_loss", "runs": (("language", row["arm"]),)}
        for row in rows(list(records), "test_loss", FRESH)
    ]
    measured = {"metric": "predicted_snr", "diverged": False, "runs": (("language", REFERENCE.name),)}
    predictions = [
        measured | {"arm": arm, "seed": run.spec.seed, "value": snr}
        for run in reference_runs(records)
        if not run.diverged
        for arm, snr in predicted_snr(run).items()
    ]
    return losses + predictions
