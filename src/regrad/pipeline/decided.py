"""What a study's claims say so far: those whose runs are all there are judged, while others are still being made."""

from collections import Counter
from importlib import import_module
from importlib.util import find_spec

from regrad.pipeline.folders import Folders
from regrad.results import Record
from regrad.studies.study import Study

NOT_BY_RUNS = ("construction", "ratio")  # kinds of tests that a proof and a benchmark decide


def so_far(folders: Folders, target: Study, whole: list[Record], *, preset: str) -> str:
    """Return in words how many claims that a study's runs decide have which verdict now; empty without any, or runs.

    Args:
        folders: The checkout.
        target: The study.
        whole: The records of those groups of which no run is missing.
        preset: Of the records.
    """
    name = f"regrad.studies.{target.name}.claims"
    if not whole or find_spec(name) is None:
        return ""
    from regrad.claims.verdicts import decide  # here: statistics take longer to import than a listing to print

    rows = decide(folders.paper / "claims.toml", target.name, import_module(name).claim_rows, whole, preset=preset)
    counts = Counter(row["verdict"] for row in rows if row["test"]["kind"] not in NOT_BY_RUNS)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
