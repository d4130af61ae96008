"""Figures of the study of SGG: learning rates, effects, scales, robustness, ablations."""

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regrad.report.marks import DASHED, error_bar, legend_above
from regrad.report.palette import BLUE, GREY, ORANGE
from regrad.report.style import COLUMN_INCHES, PAGE_INCHES, canvas, rate_axis, rate_text
from regrad.report.tuning import draw_tuning
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.studies.sgg.arms import ABLATIONS, NO_SGG, PRETRAINING, ROBUSTNESS, SMALLEST, VARIANTS
from regrad.studies.sgg.outcomes import PRETRAINED, SGGOutcomes

Entry = tuple[str, Interval | None, str, str]  # label, interval, colour, marker


def fig_learning_rates(records: Sequence[Record]) -> Figure:
    """Validation loss of AdamW's tuning runs, without and with SGG, a panel a size; rings mark the chosen rates."""
    outcomes = SGGOutcomes(records).part("pretraining")
    comparisons = outcomes.present(PRETRAINING["adamw"])
    panels = max(1, len(comparisons))
    with canvas(width=PAGE_INCHES, height=2.1, ncols=panels, sharey=True, squeeze=False) as (figure, axes):
        for axis, comparison in zip(axes[0], comparisons, strict=False):
            for arm in (comparison.plain, comparison.wrapped):
                draw_tuning(axis, outcomes, arm.name, arm.style)
            axis.set_title(f"{outcomes.arm(comparison.name).parameters:,} parameters")
        ends = [r.metrics["validation_loss"] for r in outcomes.tuning if "validation_loss" in r.metrics]
        axes[0][0].set(ylabel="final validation loss (nats per byte)")
        # Rates far too large end nats above the rest and would flatten what is compared.
        if ends:
            axes[0][0].set_ylim(min(ends) - 0.05, min(max(ends) + 0.05, min(ends) + 1.5))
            axes[0][0].legend()
    return figure


def draw_forest(axis: Axes, entries: Iterable[Entry]) -> None:
    labels = []
    for place, (label, interval, color, marker) in enumerate(entries):
        labels.append(label)
        if interval is None:
            axis.text(0, place, "diverged", va="center")
            continue
        spread = error_bar(interval)
        axis.errorbar(interval.estimate, place, xerr=spread, fmt=marker, color=color, capsize=1.5, ms=3)
    axis.axvline(0, **DASHED)
    axis.set(yticks=range(len(labels)), yticklabels=labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="y", labelsize=7)


def fig_effect(records: Sequence[Record]) -> Figure:
    """Test loss with SGG less that of the tuned base, and less that of the base at the matched rate."""
    outcomes = SGGOutcomes(records)
    comparisons = outcomes.present(PRETRAINED)
    entries: tuple[list[Entry], list[Entry]] = ([], [])
    for comparison in comparisons:
        plain, wrapped, matched = comparison.arms
        label, runs = outcomes.label(comparison, plain), outcomes.fresh.arm(wrapped.name)
        for panel, control in zip(entries, (plain, matched), strict=True):
            panel.append((label, runs.gap(outcomes.fresh.arm(control.name)), control.color, wrapped.marker))
    with canvas(height=0.22 * len(comparisons) + 0.9, ncols=2, sharey=True) as (figure, axes):
        for axis, panel, title in zip(axes, entries, ("minus tuned base", "minus matched LR"), strict=True):
            draw_forest(axis, panel)
            axis.set(xlabel="nats per byte", title=title)
    return figure


def draw_scales(axis: Axes, outcomes: SGGOutcomes) -> None:
    """Draw the mean scale over reclusters of each variant, the schedules b^n dashed."""
    for arm in VARIANTS.values():
        steps, scales = outcomes.arm(arm.name).mean_curve("scale/mean")
        if not steps:
            continue
        interval = steps[1] - steps[0] if len(steps) > 1 else 1.0
        dashes = {} if arm.wrapper else {"ls": "--", "marker": ""}
        axis.plot([round(step / interval) for step in steps], scales, **arm.style | dashes)
    axis.set(xlabel="reclusters", ylabel="mean scale S")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="upper right", bbox_to_anchor=(1, 0.94))  # between the lines near 1 and those that fall


def fig_scales(records: Sequence[Record]) -> Figure:
    """Mean scale over reclusters of each variant, with b^n dashed; right, test loss less AdamW's without SGG."""
    outcomes = SGGOutcomes(records).part("variants")
    base, others = outcomes.arm(NO_SGG.name), [arm for arm in VARIANTS.values() if arm is not NO_SGG]
    with canvas(width=PAGE_INCHES, height=2.2, ncols=2, width_ratios=(1.3, 1)) as (figure, axes):
        draw_scales(axes[0], outcomes)
        gaps = ((arm, outcomes.arm(arm.name).gap(base)) for arm in others if len(outcomes.arm(arm.name)))
        draw_forest(axes[1], [(arm.label, gap, arm.color, arm.marker) for arm, gap in gaps])
        axes[1].set(xlabel="test loss minus AdamW's (nats per byte)")
    return figure


def loss_grid(runs: SGGOutcomes) -> pd.DataFrame:
    """Return the mean final validation loss by batch size (rows) and rate (columns); nan where a run diverged."""
    return pd.DataFrame(
        {
            lr: {batch: mean_loss(cell) for batch, cell in column.grouped(lambda r: r.spec.batch_size).items()}
            for lr, column in runs.grouped(lambda r: r.spec.optimizer.lr).items()
        }
    )


def mean_loss(runs: SGGOutcomes) -> float:
    """Return the mean final validation loss, nan if a run diverged."""
    return np.nan if runs.diverged else fmean(r.metrics["validation_loss"] for r in runs)


def draw_losses(axis: Axes, grid: pd.DataFrame, limits: tuple[float, float]) -> ScalarMappable:
    """Draw a grid of losses as a heat map with its numbers; return what a colour bar needs."""
    drawn = axis.imshow(grid, aspect="auto", cmap="cividis", vmin=limits[0], vmax=limits[1])
    axis.set(xticks=range(grid.shape[1]), xticklabels=[rate_text(lr) for lr in grid], xlabel="learning rate")
    axis.set(yticks=range(grid.shape[0]), yticklabels=list(grid.index))
    axis.grid(visible=False)
    for (row, column), loss in np.ndenumerate(grid.to_numpy()):
        text, color = (f"{loss:.2f}", "w" if loss < fmean(limits) else "k") if np.isfinite(loss) else ("div.", "r")
        axis.text(column, row, text, ha="center", va="center", color=color)
    return drawn


def draw_lines(axis: Axes, grid: pd.DataFrame, label: str, dashes: str) -> None:
    for place, (batch, losses) in enumerate(grid.iterrows()):
        color = (ORANGE, BLUE, GREY)[place % 3]
        axis.plot(grid.columns, losses, label=f"{label}, B = {batch}", ls=dashes, color=color)
    rate_axis(axis)
    axis.set_ylabel("validation loss")


def fig_robustness(records: Sequence[Record]) -> Figure:
    """Final validation loss over learning rate and batch size, heat maps without and with SGG; right, as lines."""
    outcomes = SGGOutcomes(records).part("robustness")
    losses = [r.metrics["validation_loss"] for r in outcomes if not r.diverged]
    looks = zip(ROBUSTNESS.arms, ("AdamW", "AdamW + SGG"), (":", "-"), strict=True)
    with canvas(width=PAGE_INCHES, height=2.5, ncols=3, width_ratios=(1, 1, 1.2)) as (figure, axes):
        for axis, (arm, title, dashes) in zip(axes, looks, strict=False):
            grid = loss_grid(outcomes.arm(arm.name))
            # One scale of colours for both heat maps, or they could not be compared.
            drawn = draw_losses(axis, grid, (min(losses, default=0.0), max(losses, default=1.0)))
            axis.set_title(title)
            draw_lines(axes[2], grid, arm.label, dashes)
        axes[0].set_ylabel("batch size")
        legend_above(axes[2], 2)
        figure.colorbar(drawn, ax=axes[1], label="validation loss", pad=0.02)
    return figure


def fig_ablations(records: Sequence[Record]) -> Figure:
    """Test loss with one setting changed less that of the default."""
    outcomes = SGGOutcomes(records).fresh
    default = outcomes.arm(SMALLEST.wrapped.name)
    ran = [arm for arm in ABLATIONS.values() if len(outcomes.arm(arm.name))]
    entries = [(arm.label, outcomes.arm(arm.name).gap(default), arm.color, arm.marker) for arm in ran]
    with canvas(width=COLUMN_INCHES, height=0.16 * len(entries) + 0.8) as (figure, axis):
        draw_forest(axis, entries)
        axis.set(xlabel="test loss minus default's (nats)")
    return figure
