"""Figures of the user's guide to statistics of one's own."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from regrad.report.marks import DASHED, draw_range
from regrad.report.outcomes import Outcomes
from regrad.report.palette import BLUE
from regrad.report.style import canvas
from regrad.results import Record
from regrad.studies.own_statistics.arms import MEAN, arm_of


def points(statistics: Mapping[str, Mapping[str, Any]], layer: str) -> list[list[float]]:
    """Return every fourth entry of a parameter's mean gradient, and of the own statistic."""
    return [statistics[kind][layer].flatten()[::4].tolist() for kind in ("mean", "own")]


def fig_statistic(mean: Sequence[float], own: Sequence[float], label: str) -> Figure:
    """One point an entry of a parameter: a statistic of your own against the mean gradient."""
    x, y = ([1000 * value for value in values] for values in (mean, own))
    with canvas(height=2.4) as (figure, axes):
        axes.scatter(x, y, s=2, color=BLUE, alpha=0.4, linewidths=0)
        axes.axline((0, 0), slope=1, **DASHED)
        room = 0.1 * (max(y) - min(y))
        axes.set(xlim=(min(x), max(x)), ylim=(min(y) - room, max(y) + room))
        axes.set(xlabel="mean gradient of an entry (thousandths)", ylabel=f"{label} (thousandths)")
    return figure


def fig_training(records: Sequence[Record]) -> Figure:
    """Validation loss over the run, a line an arm: mean and range over seeds; untrained models left out."""
    outcomes = Outcomes(records)
    with canvas(height=2.4) as (figure, axes):
        for name in outcomes.arms:
            steps, losses = outcomes.arm(name).curve()
            if steps:
                arm = MEAN if name == MEAN.name else arm_of(name)
                axes.plot(steps[1:], [fmean(values) for values in losses[1:]], **arm.style)
                draw_range(axes, steps[1:], losses[1:], color=arm.color, alpha=0.15)
        axes.set(xlabel="optimizer steps", ylabel="validation loss (nats per byte)")
        axes.legend(loc="best")
    return figure
