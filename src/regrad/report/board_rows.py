"""What a verdict board says: bars in margins, sentences in lines, one block a paper; drawn by ``report/board.py``."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from regrad.claims.kinds.outcome import INCONCLUSIVE, NO_CASE, NOT_REPRODUCED, NOT_TESTED, REPRODUCED

Plain = Mapping[str, Any]

# Inches.
SENTENCE = 0.16  # where a sentence begins, from its column's left edge
BARS = 2.38  # where the bars begin; they end at the column's right edge
LINE, GAP = 0.116, 0.024  # a line of text, and the space under a row
SMALL, BOLD = (FontProperties(family="DejaVu Sans", size=7, weight=weight) for weight in ("normal", "bold"))


@dataclass(frozen=True)
class Bar:
    """A claim's estimate in margins, positive for the claim; ends are infinite where nothing bounds them."""

    at: float
    low: float
    high: float
    seen: float | None  # the smallest effect that this many seeds show
    tie: bool  # whether ±1 is the margin; a ratio's 0 is the end of its range, and it has none


def deciding(row: Plain) -> tuple[Sequence[float | None], bool]:
    """Return the interval that a row's verdict rests on, and whether that is the corrected one.

    It is where the claim is open and would not be if it were alone; the interval is empty where there is none.
    """
    own = row["interval"] or ()
    if row["verdict"] != INCONCLUSIVE or row["test"]["kind"] == "ratio" or not clear(own, row["test"]):
        return own, False
    corrected = row.get("interval_holm") or ()  # parts of a claim have none
    return (corrected, True) if corrected and not clear(corrected, row["test"]) else (own, False)


def clear(interval: Sequence[float | None], test: Plain) -> bool:
    """Return whether an interval leaves out zero, or a gain as large as the margin."""
    if len(interval) != 2:
        return False
    low, high = (
        math.copysign(math.inf, side) if end is None else end for end, side in zip(interval, (-1, 1), strict=True)
    )
    if test.get("direction") == "lower":
        low, high = -high, -low
    return low > 0 or high < test["margin"]


def bar(row: Plain) -> Bar | None:
    """Return where a row's estimate lies, None without one."""
    if row["estimate"] is None:
        return None
    low, high = deciding(row)[0] or (None, None)
    ends = [-math.inf if low is None else low, math.inf if high is None else high]
    test = row["test"]
    if test["kind"] == "ratio":
        at, *ends = (room(test["range"], value) for value in (row["estimate"], *ends))
        return Bar(at, min(ends), max(ends), None, tie=False)
    turned = -1.0 if test.get("direction") == "lower" else 1.0
    margin = test["margin"]
    at, first, last = (turned * value / margin for value in (row["estimate"], *ends))
    seen = row["detectable"] / margin if row["detectable"] else None
    return Bar(at, min(first, last), max(first, last), seen, tie=True)


def room(allowed: Sequence[float], ratio: float) -> float:
    """Return how far a ratio lies inside its range, in distances of the range's upper end from 1; negative outside."""
    low, high = allowed
    unit = abs(high - 1) or 1.0
    return min(high - ratio, ratio - low if low else math.inf) / unit


def size(parameters: int) -> str:
    """Return how large a network is: ``"115 k"``."""
    return f"{parameters / 1e6:.2g} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"


def ours(rows: Sequence[Plain]) -> str:
    """Return how large the networks behind these verdicts are; empty where none decides one."""
    sizes = sorted({count for row in rows for count in row["parameters"]})
    ends = [size(count) for count in dict.fromkeys([*sizes[:1], *sizes[-1:]])]
    return f"ours: {' to '.join(ends)} parameters; " if ends else ""


def untested(row: Plain) -> str:
    """Return in a few words why a row is not tested; its ``why`` says it in full."""
    if row["preset"] not in row["presets"]:
        return "a larger preset than this"
    if row["waits"]:
        return "runs that are not published yet"
    if any(not gate["open"] for gate in row["gates"]):
        return "a base that is trained well enough"
    if NO_CASE in row["why"]:  # what it waits for may follow
        return "a run that diverged"
    return "runs or hardware that are missing"


def width_of(text: str, letters: FontProperties = SMALL) -> float:
    """Return the width of a line, in inches."""
    return (
        1.03 * TextToPath().get_text_width_height_descent(text, letters, ismath=False)[0] / 72
    )  # unhinted is narrower


def wrapped(text: str, width: float, letters: FontProperties = SMALL) -> list[str]:
    """Return a text in lines no wider than ``width`` inches."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if not lines[-1] or width_of(longer, letters) <= width else [*lines, word]
    return lines


@dataclass(frozen=True)
class Item:
    """A piece of a column: a paper's heading, a verdict's, a claim, or what was not tested."""

    lines: list[str]
    verdict: str = ""
    row: Plain | None = None
    heading: bool = False

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + (0.09 if self.heading else GAP)


def block(name: str, theirs: str, rows: Sequence[Plain], width: float) -> list[Item]:
    """Return one paper's part of a board: heading, decided claims by verdict, one paragraph for the others."""
    items = [Item([name, *wrapped(f"{ours(rows)}theirs: {theirs}", width)], heading=True)]
    for verdict in (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE):
        found = [row for row in rows if row["verdict"] == verdict]
        if found:
            items.append(Item([f"{verdict} ({len(found)})"], verdict))
        items += [Item(wrapped(row["short"], BARS - SENTENCE), verdict, row) for row in found]
    if waiting := Counter(untested(row) for row in rows if row["verdict"] == NOT_TESTED):
        needs = "; ".join(
            f"{count} need {why}" if count > 1 else f"1 needs {why}" for why, count in waiting.most_common()
        )
        items.append(Item(wrapped(f"not tested ({waiting.total()}): {needs}", width - SENTENCE), NOT_TESTED))
    return items


def balanced(blocks: Sequence[list[Item]]) -> tuple[list[Item], list[Item]]:
    """Return whole blocks in two columns so that the taller is as short as it can be; each column keeps their order.

    The first one is on the left, and as many more as can be.
    """
    heights = [sum(item.height for item in items) for items in blocks]
    first, rest = range(len(blocks))[:1], range(len(blocks))[1:]
    choices = [(*first, *some) for k in range(len(blocks), 0, -1) for some in combinations(rest, k - 1)] or [()]

    def taller(left: tuple[int, ...]) -> float:
        own = sum(heights[k] for k in left)
        return round(max(own, sum(heights) - own), 6)

    left = min(choices, key=taller)
    sides = left, tuple(k for k in range(len(blocks)) if k not in left)
    return [i for k in sides[0] for i in blocks[k]], [i for k in sides[1] for i in blocks[k]]


def shows(rows: Sequence[Plain]) -> str:
    """Return what names the content of a board: equal for equal verdicts, sentences and estimates."""
    seen = [[row[key] for key in ("id", "short", "verdict", "estimate", "interval", "parameters")] for row in rows]
    return f"verdicts {hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]}"
