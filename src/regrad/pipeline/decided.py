"""What a study's claims say so far: those whose runs are all there are judged, while others are still being made."""

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

from regrad.pipeline.folders import Folders
from regrad.results import Record, Spec
from regrad.studies.study import Study


def arm_of(spec: Spec) -> tuple[str, str]:
    return spec.tags.get("part", ""), spec.tags.get("arm", "")


def whole_arms(records: Iterable[Record], missing: Iterable[Spec]) -> list[Record]:
    """Return the records of those arms of which no run is missing: half a grid or half the seeds decide nothing."""
    begun = {arm_of(spec) for spec in missing}
    return [record for record in records if arm_of(record.spec) not in begun]


def so_far(folders: Folders, target: Study, records: list[Record], missing: list[Spec], *, preset: str) -> str:
    """Return in words how many of a study's claims have which verdict now; empty where it has none, or no runs."""
    name = f"regrad.studies.{target.name}.claims"
    whole = whole_arms(records, missing)
    if not whole or find_spec(name) is None:
        return ""
    from regrad.report.ledger.verdicts import decide  # here: statistics take longer to import than a listing to print

    rows = decide(folders.paper / "claims.toml", target.name, import_module(name).claim_rows, whole, preset=preset)
    counts = Counter(row["verdict"] for row in rows)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
