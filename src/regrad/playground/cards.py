"""The published verdicts, and where everything stands: the lab's first page."""

import json
from pathlib import Path
from typing import Any

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
