"""The published verdicts, and where everything stands: the lab's first page."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regrad.claims.kinds.outcome import VERDICTS
from regrad.playground.explore import png
from regrad.report.board import fig_board
from regrad.report.export import Picture
from regrad.studies.catalogue import PAPERS


def verdicts(folder: Path) -> list[dict[str, Any]]:
    """Return the verdicts of a published set.

    Raises:
        ValueError: The set has none.
    """
    path = folder / "claims.json"
    if not path.is_file():
        raise ValueError(f"{path}: no published verdicts; publish a set, or take one from the repository")
    return json.loads(path.read_text(encoding="utf-8"))["claims"]


def board(folder: Path) -> Picture:
    """Return the board of a published set's verdicts, to be shown."""
    return Picture("board", png(fig_board(verdicts(folder), PAPERS)))


def summary(published: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], changed: int) -> list[str]:
    """Return how many verdicts changed, and what the board of all claims says then, with what is published."""
    verdict = {row["id"]: row["verdict"] for row in rows}
    before = Counter(row["verdict"] for row in published)
    after = Counter(verdict.get(row["id"], row["verdict"]) for row in published)
    counts = [f"{after[v]} {v}" + (f" (published: {before[v]})" if after[v] != before[v] else "") for v in VERDICTS]
    return [
        f"{changed or 'No'} verdict{'s' if changed > 1 else ''} of these {len(rows)} claims "
        f"{'are' if changed > 1 else 'is'} another than the published one.",
        f"All {len(published)} claims: {', '.join(counts)}.",
    ]
