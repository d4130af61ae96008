"""Figures of the study of where the sign goes: records in, figure out."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from regrad.claims.tasks import Task
from regrad.report.budgets import budgets, draw_budgets
from regrad.report.gates import draw_gates
from regrad.report.marks import DASHED, draw_arms, draw_median, draw_range, parameter_label
from regrad.report.outcomes import Outcomes
from regrad.report.style import PAGE_INCHES, canvas
from regrad.report.tuning import draw_tuning
from regrad.results import Record
from regrad.studies.sign_placement.arms import ARMS, HEADLINE, REFERENCE, SignArm, arms_of
from regrad.studies.sign_placement.noise import values_by_parameter

LOSS = "nats per byte"


def fig_learning_rates(records: Sequence[Record], tasks: Sequence[Task] = ()) -> Figure:
    """Validation loss at the end against learning rate, one curve an arm; a ring marks the chosen rate."""
    with canvas(height=2.75) as (figure, axes):
        outcomes = Outcomes(records)
        for arm in arms_of(records):
            if outcomes.choices()[arm.name].best is not None:  # else nothing is finite, and a label would have no line
                draw_tuning(axes, outcomes, arm.name, arm.style, dots=True)
        draw_gates(axes, tasks)
        axes.set(ylabel=f"final validation loss ({LOSS})")
        put_legend(figure, loc="outside upper center", ncols=2)
    return figure


def fig_curves(records: Sequence[Record], tasks: Sequence[Task] = ()) -> Figure:
    """Validation loss over the run at each arm's best learning rate: mean and range over fresh seeds."""
    with canvas(height=2.75) as (figure, axes):
        late: list[float] = []
        for arm in arms_of(records):
            steps, losses = Outcomes(records).arm(arm.name).fresh.curve()
            if steps:
                axes.plot(steps, [fmean(values) for values in losses], **arm.style)
                draw_range(axes, steps, losses, color=arm.color, alpha=0.15)
                late += [loss for values in losses[2:] for loss in values]
        draw_gates(axes, tasks)
        if late:  # the first evaluations are far above: the arms would be one line
            axes.set_ylim(min(late) - 0.03 * (max(late) - min(late)), max(late))
        axes.set(xlabel="optimizer steps", ylabel=f"validation loss ({LOSS})")
        put_legend(figure, loc="outside upper center", ncols=2)
    return figure


def fig_dose(records: Sequence[Record], tasks: Sequence[Task] = ()) -> Figure:
    """Test loss against the number of examples under one sign; ``ema`` to the right of the whole batch."""
    arms, outcomes = arms_of(records), Outcomes(records)
    with canvas(ncols=2, width_ratios=(1.15, 1), height=2.3) as (figure, axes):
        draw_arms(axes, {arm.name: arm.style for arm in arms}, outcomes.fresh, REFERENCE.name)
        draw_gates(axes[0], tasks)
        ticks = [examples_under_one_sign(arm, records[0].spec.batch_size) for arm in arms]
        for axis, text in zip(axes, (f"test loss ({LOSS})", "difference to EMA"), strict=True):
            axis.set(xticks=range(len(arms)), xticklabels=ticks, ylabel=text, xlabel="examples under one sign")
    return figure


def fig_scale(records: Sequence[Record], margin: float) -> Figure:
    """Test loss of earlier signs less that of the latest at each budget that ran; the band is the ledger's margin."""
    looks = {arm: ARMS[arm].style for arm in HEADLINE if arm != REFERENCE.name}
    with canvas(height=2.3) as (figure, axis):
        draw_budgets(axis, budgets(Outcomes(records), "language"), looks, REFERENCE.name, margin)
        axis.set_ylabel("difference to EMA (nats)")
    return figure


def examples_under_one_sign(arm: SignArm, batch_size: int) -> str:
    """Return how many examples' gradients are averaged before the sign, as an axis says it."""
    return {"example": str(arm.group_size), "batch": str(batch_size), "ema": "EMA"}[arm.placement]


class Panel(NamedTuple):
    """One number of every parameter: what it is called in the records and on the axis, and the axis's scale."""

    what: str
    label: str
    scale: str


PANELS = (
    Panel("snr", "median\nper-example SNR", "symlog"),
    Panel("kurtosis", "median kurtosis\n(Gaussian: 3)", "log"),
    Panel("agreement", "mean and median\nagree in sign", "linear"),
)


def fig_noise(records: Sequence[Record]) -> Figure:
    """Per layer: signal-to-noise ratio, kurtosis, mean against median, and predicted against observed."""
    with canvas(width=PAGE_INCHES, height=3.6, ncols=4, width_ratios=(1, 1, 1, 1.6)) as (figure, axes):
        parameters = list(values_by_parameter(records, PANELS[0].what))
        for axis, panel in zip(axes, PANELS, strict=False):
            values = values_by_parameter(records, panel.what)
            draw_ranges(axis, [values.get(p, []) for p in parameters])
            axis.set(xlabel=panel.label)
            scale_axis(axis, panel.scale)
            axis.set_yticklabels([parameter_label(p) for p in parameters] if axis is axes[0] else [])
        axes[1].axvline(3, **DASHED)
        draw_formula_against_resampling(axes[3], records)
        put_legend(figure, loc="outside upper right", ncols=3)
    return figure


def draw_ranges(axis: Axes, values: Sequence[Sequence[float]]) -> None:
    """Draw the median and the range of each entry's values, the first entry on top; none of an entry without."""
    for place, drawn in enumerate(values):
        draw_median(axis, place, drawn)
    axis.set(ylim=(max(len(values), 1) - 0.5, -0.5), yticks=range(len(values)))


def scale_axis(axis: Axes, scale: str) -> None:
    if scale == "symlog":
        axis.set_xscale("symlog", linthresh=0.01)
        axis.set(xlim=(0, None), xticks=[0, 0.01, 0.1, 1, 10], xticklabels=["0", ".01", ".1", "1", "10"])
    elif scale == "log":
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())


def draw_formula_against_resampling(axis: Axes, records: Sequence[Record]) -> None:
    for arm in arms_of(records):
        gaussian, resampled = (values_by_parameter(records, f"{how}/{arm.name}") for how in ("gaussian", "resampled"))
        if gaussian:
            x, y = [fmean(v) for v in gaussian.values()], [fmean(resampled[p]) for p in gaussian]
            axis.scatter(x, y, s=9, **arm.style)
    axis.plot([0.5, 1], [0.5, 1], **DASHED)
    axis.set(xlabel="right signs, Gaussian formula", ylabel="right signs, measured gradients resampled")


def put_legend(figure: Figure, *, loc: Any, ncols: int) -> None:
    """Add a legend of all labelled artists; none where every run that would have a label is missing."""
    if any(axis.get_legend_handles_labels()[0] for axis in figure.axes):
        figure.legend(loc=loc, ncols=ncols)
