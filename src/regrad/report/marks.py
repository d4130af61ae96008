"""Marks that figures of several studies share: intervals, the range over seeds, a line to compare with, names."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes

from regrad.report.outcomes import Outcomes
from regrad.statistics.intervals import Interval

COMPARED_WITH = "#909090"
BAND = "#E0E0E0"
DASHED: dict[str, Any] = {"color": COMPARED_WITH, "lw": 0.7, "ls": "--"}  # a line that data are compared with


def error_bar(interval: Interval) -> list[list[float]] | None:
    """Return what ``Axes.errorbar`` takes as ``xerr`` or ``yerr``; None for an infinite interval (a single seed)."""
    # A single seed has no interval, and an infinite bar cannot be drawn.
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return [[interval.estimate - interval.low], [interval.high - interval.estimate]]


def draw_interval(axis: Axes, place: float, interval: Interval, style: Mapping[str, Any]) -> None:
    """Draw an estimate with its 95 % interval, upright at ``place``; without an interval the estimate alone."""
    look = {"fmt": style["marker"], "color": style["color"], "capsize": 2}
    axis.errorbar(place, interval.estimate, yerr=error_bar(interval), **look)


def draw_margin(axis: Axes, margin: float) -> None:
    """Draw what counts as a tie as a band around the line at 0."""
    axis.axhspan(-margin, margin, color=BAND, lw=0)
    axis.axhline(0, **DASHED)


def legend_above(axis: Axes, columns: int) -> None:
    """Put an axis's legend over it, where it hides no interval."""
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)


def draw_arms(axes: Sequence[Axes], looks: Mapping[str, Mapping[str, Any]], fresh: Outcomes, reference: str) -> None:
    """Draw each arm's mean test loss at its place; on the second axis its paired difference to the reference's."""
    for place, (arm, look) in enumerate(looks.items()):
        runs = fresh.arm(arm)
        if (mean := runs.mean()) is not None:
            draw_interval(axes[0], place, mean, look)
        if arm != reference and (gap := runs.gap(fresh.arm(reference))) is not None:
            draw_interval(axes[1], place, gap, look)
    axes[1].axhline(0, **DASHED)


def draw_median(axis: Axes, place: float, values: Sequence[float], marker: str = "o") -> None:
    """Draw the median of the values with a bar over all of them, level at ``place``; nothing without values."""
    if values:
        middle = median(values)
        bar = [[middle - min(values)], [max(values) - middle]]
        axis.errorbar(middle, place, xerr=bar, fmt=marker, ms=2.6, lw=0.7, color="#404040")


def draw_range(axis: Axes, x: Sequence[float], values: Sequence[Sequence[float]], *, color: str, alpha: float) -> None:
    """Shade from the lowest to the highest of the values at each of ``x``, such as those of all seeds."""
    axis.fill_between(x, [min(v) for v in values], [max(v) for v in values], color=color, alpha=alpha, linewidth=0)


def parameter_label(name: str) -> str:
    """Return a parameter's name as a figure can hold it: ``blocks.0.attention.query.weight`` as ``0 attn query``."""
    text = name.removesuffix(".weight").replace("blocks.", "").replace("attention.", "attn ")
    return text.replace("feedforward.", "ff ").replace("_norm", " norm").replace(".", " ").replace("_", " ")
