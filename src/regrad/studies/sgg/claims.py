"""The rows that the claims on SGG are decided from."""

from collections.abc import Sequence
from typing import Any

from regrad.results import Record
from regrad.studies.sgg.rows import diverged

METRICS = ("test_loss", "test_accuracy")


def claim_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what the claims are decided from: final numbers of fresh seeds, and what diverged on the grid."""
    found, grid = {}, []
    for record in records:
        spec = record.spec
        about = {"arm": spec.tags["arm"], "seed": spec.seed, "diverged": diverged(record)}
        if spec.tags["phase"] == "grid":
            grid.append(about | {"metric": "diverged_on_grid", "value": None})
        elif spec.tags["phase"] == "fresh":
            for metric in METRICS:
                row = about | {"metric": metric, "value": record.metrics.get(metric)}
                if row["value"] is not None or (row["diverged"] and metric == "test_loss"):
                    found[about["arm"], spec.seed, metric] = row
    return [*found.values(), *grid]
