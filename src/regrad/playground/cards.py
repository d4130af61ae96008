"""The lab's first page: where everything stands, from the published verdicts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

VERDICTS = ("reproduced", "not reproduced", "inconclusive", "refuted by construction", "not tested")


def verdicts(folder: Path) -> list[dict[str, Any]]:
    """Return the verdicts of a published set.

    Raises:
        ValueError: The set has none.
    """
    path = folder / "claims.json"
    if not path.is_file():
        raise ValueError(f"{path}: no published verdicts; publish a set, or take one from the repository")
    return json.loads(path.read_text(encoding="utf-8"))["claims"]


def counted(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return how many claims of each paper have each verdict."""
    papers = dict.fromkeys(row["paper"] for row in rows)
    found = {paper: [row["verdict"] for row in rows if row["paper"] == paper] for paper in papers}
    return pd.DataFrame(
        {v: [found[p].count(v) for p in papers] for v in VERDICTS}, index=pd.Index(papers, name="paper")
    )
