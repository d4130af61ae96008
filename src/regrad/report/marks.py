"""Marks that figures of several studies share: an interval, the range over seeds, a parameter's name."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from regrad.statistics.intervals import Interval


def error_bar(interval: Interval) -> list[list[float]] | None:
    """Return what ``Axes.errorbar`` takes as ``xerr`` or ``yerr``; None for an infinite interval (a single seed)."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return [[interval.estimate - interval.low], [interval.high - interval.estimate]]


def draw_interval(axis: Axes, place: float, interval: Interval, style: Mapping[str, Any]) -> None:
    """Draw an estimate with its 95 % interval, upright at ``place``; without an interval the estimate alone."""
    look = {"fmt": style["marker"], "color": style["color"], "capsize": 2}
    axis.errorbar(place, interval.estimate, yerr=error_bar(interval), **look)


def draw_range(axis: Axes, x: Sequence[float], values: Sequence[Sequence[float]], *, color: str, alpha: float) -> None:
    """Shade from the lowest to the highest of the values at each of ``x``, such as those of all seeds."""
    axis.fill_between(x, [min(v) for v in values], [max(v) for v in values], color=color, alpha=alpha, linewidth=0)


def parameter_label(name: str) -> str:
    """Return a parameter's name as a figure can hold it: ``blocks.0.attention.query.weight`` as ``0 attn query``."""
    text = name.removesuffix(".weight").replace("blocks.", "").replace("attention.", "attn ")
    return text.replace("feedforward.", "ff ").replace("_norm", " norm").replace(".", " ").replace("_", " ")
