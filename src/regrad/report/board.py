"""The verdict board: every claim that was decided, in one picture; rows of ``results/claims.json`` in, figure out.

A row is the claim's short sentence, a mark of its verdict (shape, colour and, over its group, the word) and its
estimate. Estimates of any unit share one axis: each is divided by its claim's margin and turned so that right is for
the claim. A ratio of costs, which has an allowed range and no margin, shows how far it stays inside.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from regrad.claims.kinds.outcome import INCONCLUSIVE, NOT_REPRODUCED, NOT_TESTED, REFUTED, REPRODUCED, VERDICTS
from regrad.report.board_rows import (
    BARS,
    BOLD,
    LINE,
    SENTENCE,
    Item,
    Plain,
    balanced,
    bar,
    block,
    shows,
    width_of,
    wrapped,
)
from regrad.report.export import rendered
from regrad.report.style import PAGE_INCHES, SETTINGS


@dataclass(frozen=True)
class Theme:
    """Colours of a board; the verdicts' are told apart by readers with any colour vision, and by shape."""

    paper: str
    ink: str
    muted: str
    band: str
    line: str
    verdicts: Mapping[str, str]


LIGHT = Theme(
    *("#FFFFFF", "#1A1A1A", "#5F5F5F", "#E9EDF2", "#D5D9DE"),
    {
        REPRODUCED: "#00704F",
        NOT_REPRODUCED: "#B84300",
        INCONCLUSIVE: "#0062A3",
        REFUTED: "#8A3B73",
        NOT_TESTED: "#6A6A6A",
    },
)
DARK = Theme(
    *("#0D1117", "#E6EDF3", "#9DA7B3", "#202833", "#343D49"),
    {
        REPRODUCED: "#3FCB9B",
        NOT_REPRODUCED: "#FF9857",
        INCONCLUSIVE: "#6CB6FF",
        REFUTED: "#E29BCB",
        NOT_TESTED: "#9DA7B3",
    },
)
MARKERS = {REPRODUCED: "o", NOT_REPRODUCED: "X", INCONCLUSIVE: "D", REFUTED: "s", NOT_TESTED: "o"}

EDGE, GUTTER = 0.04, 0.2  # inches left and right of everything, and between the columns
MARK = 0.07  # from a column's left edge
CHIP = 0.22  # from one row of the legend's counts to the next
KEY = (
    "Dot and bar: estimate and 95 % interval in margins on an axis compressed outwards, right = for the claim. "
    "Shade: ±margin, a tie. Grey whisker: too small to be seen with this many seeds. "
    "A cost has no margin: 0 is the most that its claim allows."
)
READ = "Decided by reading: what the document prints says otherwise (proofs, no runs)"
REACH = math.asinh(100.0)  # the axis ends at a hundred margins; what lies beyond has an arrow


def fig_board(rows: Sequence[Plain], papers: Mapping[str, Any], *, theme: Theme = LIGHT, columns: int = 2) -> Figure:
    """Draw the verdicts on all claims: those decided by running over those decided by reading.

    Args:
        rows: Rows of ``results/claims.json``.
        papers: The papers by key, each with ``name`` and ``scale``, the size of what it ran itself.
        theme: ``LIGHT`` or ``DARK``.
        columns: 2 fill a page of the report, 1 a phone.
    """
    width = (PAGE_INCHES - GUTTER) / 2 - EDGE
    lefts = [EDGE + k * (width + GUTTER) for k in range(columns)]
    page = lefts[-1] + width + EDGE
    ran = [row for row in rows if row["test"]["kind"] != "construction"]
    by_paper = {key: [row for row in ran if row["paper"] == key] for key in dict.fromkeys(row["paper"] for row in ran)}
    blocks = [block(*about(papers, k), some, width) for k, some in by_paper.items()]
    sides = balanced(blocks) if columns > 1 else (list(chain(*blocks)),)
    read = [row for row in rows if row["test"]["kind"] == "construction"]
    proofs = [Item(wrapped(row["short"], width - SENTENCE), row["verdict"], row) for row in read]
    share = math.ceil(len(proofs) / columns)
    shares = [proofs[k * share : (k + 1) * share] for k in range(columns)]
    chips, words = legend(rows, page), wrapped(KEY, page - 2 * EDGE)
    top = 0.34 + chips[-1].row * CHIP + LINE * len(words) if chips else 0.34
    over = top + deepest(sides)
    said = wrapped(READ, page - 2 * EDGE, BOLD) if read else []
    under = over + (0.17 + LINE * len(said) if said else 0.0)
    height = under + deepest(shares) + 0.16
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(page, height), facecolor=theme.paper)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, page), ylim=(height, 0))
        axes.axis("off")
        pen = Pen(axes, theme)
        pen.legend(chips, words)
        for left, items in zip(lefts, sides, strict=True):
            pen.column(items, left, width, top)
        if said:
            pen.rule(over + 0.07, page)
            pen.lines(said, EDGE, over + 0.19, bold=True)
        for left, items in zip(lefts, shares, strict=True):
            pen.sentences(items, left, under)
    return figure


@dataclass(frozen=True)
class Chip:
    """A verdict's count in the legend, ``left`` inches from the edge in its row."""

    verdict: str
    words: str
    left: float
    row: int

    @property
    def width(self) -> float:
        return width_of(self.words, BOLD) + 0.18


def legend(rows: Sequence[Plain], page: float) -> list[Chip]:
    """Return the counts, mark by mark, in rows no wider than a page."""
    counts, chips, x, row = Counter(row["verdict"] for row in rows), list[Chip](), EDGE, 0
    for verdict in [verdict for verdict in VERDICTS if counts[verdict]]:
        chip = Chip(verdict, f"{counts[verdict]} {verdict}", x, row)
        if x + chip.width > page - EDGE:
            x, row = EDGE, row + 1
            chip = Chip(verdict, chip.words, x, row)
        chips.append(chip)
        x += chip.width + 0.18
    return chips


def deepest(columns: Iterable[Sequence[Item]]) -> float:
    """Return the height of the tallest column, in inches."""
    return max(sum(item.height for item in items) for items in columns)


def about(papers: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Return a paper's name and its own scale; its key where no study bears it, as for a claim of one's own."""
    return (papers[key].name, papers[key].scale) if key in papers else (key, "no scale printed")


def picture(rows: Sequence[Plain], papers: Mapping[str, Any], theme: Theme, columns: int = 2) -> bytes:
    """Return the board as SVG for README and site; its description names the verdicts that it shows."""
    said = {"Date": None, "Creator": "regrad", "Description": shows(rows)}
    return rendered(fig_board(rows, papers, theme=theme, columns=columns), "svg", said)


class Pen:
    """Draws on axes whose units are inches from the top left."""

    def __init__(self, axes: Axes, theme: Theme) -> None:
        self.axes, self.theme = axes, theme

    def text(self, x: float, y: float, text: str, *, bold: bool = False, color: str = "", **options: Any) -> None:
        weight = "bold" if bold else "normal"
        self.axes.text(x, y, text, fontsize=7, color=color or self.theme.ink, va="center", weight=weight, **options)

    def lines(self, lines: Sequence[str], x: float, top: float, **options: Any) -> None:
        for number, line in enumerate(lines):
            self.text(x, top + LINE * number, line, **options)

    def rule(self, y: float, width: float) -> None:
        self.axes.plot([0, width], [y, y], color=self.theme.line, lw=0.6)

    def mark(self, x: float, y: float, verdict: str, large: float = 4.2) -> None:
        color = self.theme.verdicts[verdict]
        inside = self.theme.paper if verdict == NOT_TESTED else color
        self.axes.plot([x], [y], MARKERS[verdict], ms=large, color=inside, mec=color, mew=0.7)

    def legend(self, chips: Sequence[Chip], words: Sequence[str]) -> None:
        """Draw the counts, and under them how a bar is read."""
        y = 0.12
        for chip in chips:
            x, y, color = chip.left, 0.12 + chip.row * CHIP, self.theme.verdicts[chip.verdict]
            box = (x + 0.03, y - 0.075), chip.width, 0.15
            self.axes.add_patch(FancyBboxPatch(*box, "round,pad=0.02", ec=color, fc="none", lw=0.8))
            self.mark(x + 0.11, y, chip.verdict)
            self.text(x + 0.2, y, chip.words, bold=True, color=color)
        self.lines(words, EDGE, y + 0.2, color=self.theme.muted)

    def place(self, value: float, left: float, right: float) -> float:
        """Return where a value lies between two edges."""
        share = (
            min(max(math.asinh(value), -REACH), REACH) / REACH if math.isfinite(value) else math.copysign(1.0, value)
        )
        return (left + right) / 2 + share * (right - left) / 2

    def column(self, items: Sequence[Item], left: float, width: float, top: float) -> None:
        """Draw one column of papers."""
        y = top
        for number, item in enumerate(items):
            middle = y + LINE * len(item.lines) / 2
            if item.heading:
                self.heading(item, left, y)
                if any(claim.row for claim in items[number + 1 : number + 3]):
                    self.ticks(left, width, y)
            elif item.row is None:
                self.group(item, left, y)
            else:
                self.sentence(item, left, y)
                self.bar(item, middle, left + BARS, left + width)
            y += item.height

    def heading(self, item: Item, left: float, y: float) -> None:
        self.text(left, y + LINE / 2 + 0.04, item.lines[0], bold=True)
        for number, line in enumerate(item.lines[1:], start=1):
            self.text(left, y + LINE * (number + 0.5) + 0.04, line, color=self.theme.muted)

    def ticks(self, left: float, width: float, y: float) -> None:
        for value in (-10, 0, 10):
            x = self.place(value, left + BARS, left + width)
            self.text(x, y + LINE / 2 + 0.04, f"{value}".replace("-", "−"), color=self.theme.muted, ha="center")

    def group(self, item: Item, left: float, y: float) -> None:
        color = self.theme.verdicts[item.verdict]
        self.mark(left + MARK, y + LINE / 2, item.verdict)
        for number, line in enumerate(item.lines):
            self.text(left + SENTENCE, y + LINE * (number + 0.5), line, bold=item.verdict != NOT_TESTED, color=color)

    def sentence(self, item: Item, left: float, y: float) -> None:
        self.mark(left + MARK, y + LINE / 2, item.verdict, 3.2)
        for number, line in enumerate(item.lines):
            self.text(left + SENTENCE, y + LINE * (number + 0.5), line)

    def sentences(self, items: Sequence[Item], left: float, top: float) -> None:
        y = top
        for item in items:
            self.sentence(item, left, y)
            y += item.height

    def bar(self, item: Item, y: float, left: float, right: float) -> None:
        """Draw one estimate: band, zero, what could be seen, interval, estimate."""
        assert item.row is not None
        half, middle = (item.height + 0.001) / 2, (left + right) / 2
        found = bar(item.row)
        if found is None or found.tie:
            a, b = self.place(-1, left, right), self.place(1, left, right)
            self.axes.add_patch(Rectangle((a, y - half), b - a, 2 * half, color=self.theme.band, lw=0))
        self.axes.plot([middle, middle], [y - half, y + half], color=self.theme.line, lw=0.6)
        if found is None:
            self.text(middle, y, "no number", color=self.theme.muted, ha="center")
            return
        color = self.theme.verdicts[item.verdict]
        if found.seen is not None:
            ends = [self.place(sign * found.seen, left, right) for sign in (-1, 1)]
            self.axes.plot(ends, [y + 0.038] * 2, "|-", ms=3, color=self.theme.muted, lw=0.6, mew=0.6)
        ends = [self.place(end, left, right) for end in (found.low, found.high)]
        self.axes.plot(ends, [y, y], color=color, lw=1.6, solid_capstyle="butt")
        arrow = ">" if found.at > 100 else "<" if found.at < -100 else MARKERS[item.verdict]
        self.axes.plot([self.place(found.at, left, right)], [y], arrow, ms=3.6, color=color, mec=color, mew=0.3)
