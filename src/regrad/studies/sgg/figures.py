"""Figures of the study of SGG: learning rates, effects, scales, robustness, ablations."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from regrad.report.style import BLUE, COLUMN_INCHES, GREY, ORANGE, PAGE_INCHES, SPARE, canvas
from regrad.results import Record, rows
from regrad.statistics.intervals import Interval
from regrad.studies.sgg.rows import (
    COLORS,
    CONTROL,
    DEFAULT,
    MARKERS,
    SGG,
    arms,
    bases,
    choices,
    diverged,
    gap,
    label,
    losses,
    of_part,
    parameters,
    scale_curve,
)

ZERO: dict[str, Any] = {"color": "#909090", "lw": 0.7, "ls": "--"}


def fig_learning_rates(records: Sequence[Record]) -> Figure:
    """Validation loss of AdamW's tuning runs, without and with SGG, a panel a size; rings mark the chosen rates."""
    names = [arm for arm in bases(records) if arm.startswith("adamw:")]
    found, tuning = choices(records), rows(of_part(records, "pretraining"), "validation_loss", "tune")
    with canvas(width=PAGE_INCHES, height=2.1, ncols=len(names), sharey=True, squeeze=False) as (figure, axes):
        for axis, arm in zip(axes[0], names, strict=True):
            for suffix in ("", SGG):
                own = arm.replace(":", f"{suffix}:")
                style = {"color": COLORS[suffix], "marker": MARKERS[suffix]}
                means = sorted((lr, y) for lr, y in found[own].means.items() if math.isfinite(y))
                axis.plot(*zip(*means, strict=True), label=f"AdamW{' + SGG' if suffix else ''}", **style)
                best = found[own].best
                if best is not None:
                    axis.plot(best, found[own].means[best], "o", mfc="none", mec=style["color"], ms=8, mew=1)
            axis.set(xscale="log", xlabel="learning rate (log scale)")
            axis.set_title(f"{parameters(records, arm):,} parameters")
        ends = [r["value"] for r in tuning if r["value"] is not None]
        axes[0][0].set(ylabel="final validation loss (nats per byte)")
        axes[0][0].set_ylim(min(ends) - 0.05, min(max(ends) + 0.05, min(ends) + 1.5))
        axes[0][0].legend()
    return figure


def forest(axis: Any, entries: Sequence[tuple[str, Interval | None, str, str]]) -> None:
    """Draw differences with their 95 % intervals, the first entry on top: label, interval, colour, marker."""
    for place, (_, interval, color, marker) in enumerate(entries):
        if interval is None:
            axis.text(0, place, "diverged", fontsize=5, va="center")
            continue
        spread = None
        if math.isfinite(interval.low) and math.isfinite(interval.high):
            spread = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
        axis.errorbar(interval.estimate, place, xerr=spread, fmt=marker, color=color, capsize=1.5, ms=3)
    axis.axvline(0, **ZERO)
    axis.set(yticks=range(len(entries)), yticklabels=[entry[0] for entry in entries])
    axis.set_ylim(len(entries) - 0.5, -0.5)
    axis.tick_params(axis="y", labelsize=5.8)


def fig_effect(records: Sequence[Record]) -> Figure:
    """Test loss with SGG less that of the tuned base, and less that of the base at the matched rate."""
    names = bases(records)
    with canvas(height=0.22 * len(names) + 0.9, ncols=2, sharey=True) as (figure, axes):
        for axis, than, title in zip(axes, ("", CONTROL), ("minus tuned base", "minus matched LR"), strict=True):
            entries = []
            for arm in names:
                control = arm.replace(":", f"{than}:")
                interval = gap(records, arm.replace(":", f"{SGG}:"), control)
                entries.append((label(records, arm), interval, COLORS[than], MARKERS[SGG]))
            forest(axis, entries)
            axis.set(xlabel="nats per byte", title=title)
    return figure


def fig_scales(records: Sequence[Record]) -> Figure:
    """Mean scale over reclusters of each variant, with b^n dashed; right, test loss less AdamW's without SGG."""
    names = arms(records, "variants")
    shown = [arm for arm in names if scale_curve(records, arm)[0]]
    with canvas(width=PAGE_INCHES, height=2.2, ncols=2, width_ratios=(1.3, 1)) as (figure, axes):
        for place, arm in enumerate(shown):
            x, y = scale_curve(records, arm)
            interval = x[1] - x[0] if len(x) > 1 else 1.0
            events = [round(step / interval) for step in x]
            color, marker = variant_style(place)
            dashed = {"ls": "--", "marker": ""} if arm.startswith("schedule") else {"marker": marker}
            axes[0].plot(events, y, color=color, label=arm.removeprefix("variant="), **dashed)
        axes[0].set(xlabel="reclusters", ylabel="mean scale S")
        axes[0].legend()
        others = [arm for arm in names if arm != "no SGG"]
        entries = []
        for arm in others:
            color, marker = variant_style(shown.index(arm)) if arm in shown else (GREY, "o")
            entries.append((arm.removeprefix("variant="), gap(records, arm, "no SGG"), color, marker))
        forest(axes[1], entries)
        axes[1].set(xlabel="test loss minus AdamW's (nats per byte)")
    return figure


def variant_style(place: int) -> tuple[str, str]:
    """Return colour and marker of number ``place`` of the variants."""
    return ((BLUE, "D"), (ORANGE, "v"), *SPARE)[place % 7]


def fig_robustness(records: Sequence[Record]) -> Figure:
    """Final validation loss over learning rate and batch size, heat maps without and with SGG; right, as lines."""
    grids = {arm: losses(records, arm) for arm in ("robust-adamw", "robust-sgg")}
    batches = sorted({batch for batch, _ in grids["robust-sgg"]})
    rates = sorted({lr for _, lr in grids["robust-sgg"]})
    finite = [y for grid in grids.values() for ys in grid.values() for y in ys if math.isfinite(y)]
    with canvas(width=PAGE_INCHES, height=2.2, ncols=3, width_ratios=(1, 1, 1.2)) as (figure, axes):
        for axis, (arm, grid) in zip(axes, grids.items(), strict=False):
            values = np.array([[cell(grid, batch, lr) for lr in rates] for batch in batches])
            shown = axis.imshow(values, aspect="auto", cmap="cividis", vmin=min(finite), vmax=max(finite))
            axis.set(xticks=range(len(rates)), xticklabels=[f"{lr:g}" for lr in rates], xlabel="learning rate")
            axis.set(yticks=range(len(batches)), yticklabels=batches)
            axis.set_title("AdamW + SGG" if "sgg" in arm else "AdamW")
            axis.grid(visible=False)
            bright = (min(finite) + max(finite)) / 2
            for row, column in np.ndindex(values.shape):
                value = values[row, column]
                text, color = (f"{value:.2f}", "w" if value < bright else "k") if value == value else ("div.", "r")
                axis.text(column, row, text, ha="center", va="center", fontsize=5.2, color=color)
        axes[0].set_ylabel("batch size")
        figure.colorbar(shown, ax=axes[1], label="validation loss", pad=0.02)
        for arm, grid in grids.items():
            for place, batch in enumerate(batches):
                y = [cell(grid, batch, lr) for lr in rates]
                dashed = {"ls": "-" if "sgg" in arm else ":", "color": (ORANGE, BLUE, GREY)[place % 3]}
                axes[2].plot(rates, y, label=f"{'SGG' if 'sgg' in arm else 'AdamW'}, B = {batch}", **dashed)
        axes[2].set(xscale="log", xlabel="learning rate (log scale)", ylabel="validation loss")
        axes[2].legend(fontsize=5.2)
    return figure


def cell(grid: dict[tuple[int, float], list[float]], batch: int, lr: float) -> float:
    """Return the mean loss of one cell, nan if a run of it diverged."""
    values = grid.get((batch, lr), [math.nan])
    return fmean(values) if all(map(math.isfinite, values)) else math.nan


def fig_ablations(records: Sequence[Record]) -> Figure:
    """Test loss with one setting changed less that of the default."""
    entries = [(arm, gap(records, arm, DEFAULT), BLUE, "D") for arm in arms(records, "ablations")]
    with canvas(width=COLUMN_INCHES, height=0.16 * len(entries) + 0.8) as (figure, axis):
        forest(axis, entries)
        axis.set(xlabel="test loss minus the default's (nats per byte)")
    return figure


def divergences(records: Sequence[Record], arm: str) -> tuple[int, int]:
    """Return how many of how many runs of a robustness arm diverged."""
    own = [r for r in of_part(records, "robustness") if r.spec.tags["arm"] == arm]
    return sum(map(diverged, own)), len(own)
