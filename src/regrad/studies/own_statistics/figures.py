"""Figures of the user's guide to statistics of one's own."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from regrad.report.style import BLUE, canvas, method
from regrad.results import Record


def points(found: Mapping[str, Mapping[str, Any]], layer: str) -> list[list[float]]:
    """Return every fourth entry of a parameter's mean gradient, and of the own statistic."""
    return [found[kind][layer].flatten()[::4].tolist() for kind in ("mean", "own")]


def fig_statistic(mean: Sequence[float], own: Sequence[float], label: str) -> Figure:
    """One point an entry of a parameter: a statistic of your own against the mean gradient."""
    x, y = ([1000 * value for value in values] for values in (mean, own))
    with canvas(height=2.4) as (figure, axes):
        axes.scatter(x, y, s=2, color=BLUE, alpha=0.4, linewidths=0)
        axes.axline((0, 0), slope=1, color="#909090", lw=0.7, ls="--")
        room = 0.1 * (max(y) - min(y))
        axes.set(xlim=(min(x), max(x)), ylim=(min(y) - room, max(y) + room))
        axes.set(xlabel="mean gradient of an entry (thousandths)", ylabel=f"{label} (thousandths)")
    return figure


def fig_training(records: Sequence[Record]) -> Figure:
    """Validation loss over the run, a line an arm: mean and range over seeds; untrained models left out."""
    with canvas(height=2.4) as (figure, axes):
        for arm in dict.fromkeys(record.spec.tags["arm"] for record in records):
            runs = [r for r in records if r.spec.tags["arm"] == arm and not r.diverged]
            curves = [run.curves["validation_loss"] for run in runs]
            if curves:
                columns = list(zip(*(curve.y[1:] for curve in curves), strict=True))
                style = method("adam" if arm == "mean" else arm)
                label = f"Adam on {'the mean' if arm == 'mean' else f'the mean of {arm}'}"
                axes.plot(curves[0].x[1:], [fmean(c) for c in columns], **style | {"label": label})
                low, high = [min(c) for c in columns], [max(c) for c in columns]
                axes.fill_between(curves[0].x[1:], low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.set(xlabel="optimizer steps", ylabel="validation loss (nats per byte)")
        axes.legend(loc="best")
    return figure
