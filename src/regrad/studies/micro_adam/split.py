"""Figures of batch sizes in the study of Adam's preconditioner: how E[gbar²] splits, and η ∝ B^p."""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from regrad.report.ledger.kinds.versus import curve_spread
from regrad.report.marks import parameter_label
from regrad.report.style import PAGE_INCHES, canvas, method, ramp
from regrad.results import Record
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.micro_adam.figures import REFERENCE, UNIT, draw_interval
from regrad.studies.micro_adam.rows import diverged, fresh
from regrad.studies.micro_adam.scaling import scaling, scaling_rows, split, tensors

RULES = ("lr~B^0", "lr~B^0.5", "lr~B^1")


def tokens(records: Sequence[Record]) -> int:
    """Return the tokens of one example."""
    return int(str(records[0].spec.problem.options["sequence_length"]))


def checkpoints(record: Record) -> list[float]:
    """Return after how many steps a run's split was measured."""
    return next(curve.x for name, curve in record.curves.items() if name.startswith("split/"))


def noise_scale(record: Record, parameter: str) -> float | None:
    """Return the B at which μ² and σ²/B are equal, from sums over the checkpoints; None if μ² is not seen."""
    sums = [math.fsum(record.curves[f"split/{parameter}/{what}"].y) for what in ("mean_square", "variance")]
    return sums[1] / sums[0] if sums[0] > 0 else None


def fig_split(records: Sequence[Record]) -> Figure:
    """The mean squared's share: over training at several B; per tensor at Adam's B; the B of equal shares."""
    with canvas(width=PAGE_INCHES, height=3.5, ncols=3, width_ratios=(1.5, 1, 1)) as (figure, axes):
        draw_over_time(axes[0], records)
        runs = [run for run in fresh(records, "adam") if tensors(run)]
        names = tensors(runs[0]) if runs else []
        for place, name in enumerate(names):
            values = [v for run in runs for v in split(run, run.spec.batch_size, name)]
            middle = median(values)
            bar = [[middle - min(values)], [max(values) - middle]]
            axes[1].errorbar(middle, place, xerr=bar, fmt="o", ms=2.6, lw=0.7, color="#404040")
            scales = [scale for run in runs if (scale := noise_scale(run, name)) is not None]
            if scales:
                bar = [[median(scales) - min(scales)], [max(scales) - median(scales)]]
                axes[2].errorbar(median(scales), place, xerr=bar, fmt="s", ms=2.6, lw=0.7, color="#404040")
        own = runs[0].spec.batch_size if runs else 1
        axes[1].axvline(0.5, **REFERENCE)
        axes[2].axvline(own, **REFERENCE)
        axes[1].set(xlabel=f"share of the mean squared\nat B = {own}", xlim=(0, 1))
        axes[2].set(xlabel="B at which both\nare equal (log scale)", xscale="log")
        axes[2].xaxis.set_minor_formatter(NullFormatter())
        for axis in axes[1:]:
            axis.set(ylim=(max(1, len(names)) - 0.5, -0.5), yticks=range(len(names)))
            axis.set_yticklabels([parameter_label(name) for name in names] if axis is axes[1] else [], fontsize=5.2)
    return figure


def draw_over_time(axis: Any, records: Sequence[Record]) -> None:
    """Draw the share over all tensors along the runs under η ∝ B^½: mean and range over seeds."""
    found = scaling(records, "lr~B^0.5")
    for place, (size, runs) in enumerate(found.items()):
        kept = [run for run in runs if tensors(run) and not diverged(run)]
        if kept:
            columns = list(zip(*(split(run, size) for run in kept), strict=True))
            x = [step * size * tokens(kept) / 1000 for step in checkpoints(kept[0])]
            color = ramp(place, len(found))
            axis.plot(x, [fmean(c) for c in columns], "o-", color=color, label=f"B = {size}")
            axis.fill_between(
                x, [min(c) for c in columns], [max(c) for c in columns], color=color, alpha=0.15, linewidth=0
            )
    axis.axhline(0.5, **REFERENCE)
    axis.set(xlabel="thousand tokens", ylabel="share of the mean squared in E[gbar²]", ylim=(0, 1))
    axis.legend(loc="best")


def spreads(records: Sequence[Record], rule: str) -> dict[int, float]:
    """Return, by seed, the range of validation loss over batch sizes, averaged over tokens; inf if one diverged."""
    by_seed: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in scaling_rows(records):
        if row["arm"] == rule:
            by_seed[row["seed"]].append(row)
    found = {seed: curve_spread(points) for seed, points in sorted(by_seed.items())}
    return {seed: value for seed, value in found.items() if value is not None}


def spread_interval(records: Sequence[Record], rule: str) -> Interval | None:
    """Return the interval of a rule's spread over seeds; None if no seed has a finite one."""
    finite = [value for value in spreads(records, rule).values() if math.isfinite(value)]
    return paired_interval(finite) if finite else None


def fig_scaling(records: Sequence[Record]) -> Figure:
    """Adam's curves over tokens under three rules, a line a batch size; last, the spread of the lines."""
    with canvas(width=PAGE_INCHES, height=2.3, ncols=4, width_ratios=(1, 1, 1, 0.75)) as (figure, axes):
        for axis, rule in zip(axes, RULES, strict=False):
            draw_rule(axis, records, rule)
            axis.set(title=method(rule)["label"], xlabel="thousand tokens", xlim=(0, None))
        low = min(axis.get_ylim()[0] for axis in axes[:3])
        high = max(axis.get_ylim()[1] for axis in axes[:3])
        for axis in axes[:3]:
            axis.set_ylim(low, high)
        axes[0].set_ylabel(f"validation loss ({UNIT['language']})")
        axes[0].legend(loc="best")
        for place, rule in enumerate(RULES):
            interval = spread_interval(records, rule)
            if interval is not None:
                draw_interval(axes[3], place, interval, rule)
        labels = [method(rule)["label"].removeprefix("η ∝ ") for rule in RULES]
        axes[3].set(xticks=range(3), xticklabels=labels, xlim=(-0.5, 2.5), ylim=(0, None))
        axes[3].set(xlabel="η proportional to", ylabel="spread over B (nats)")
    return figure


def draw_rule(axis: Any, records: Sequence[Record], rule: str) -> None:
    """Draw one rule's validation losses over tokens: mean and range over seeds, untrained models left out."""
    found = scaling(records, rule)
    for place, (size, runs) in enumerate(found.items()):
        curves = [run.curves["validation_loss"] for run in runs if not diverged(run)]
        if curves:
            columns = list(zip(*(curve.y[1:] for curve in curves), strict=True))
            x = [step * size * tokens(runs) / 1000 for step in curves[0].x[1:]]
            color = ramp(place, len(found))
            axis.plot(x, [fmean(c) for c in columns], color=color, label=f"B = {size}")
            axis.fill_between(
                x, [min(c) for c in columns], [max(c) for c in columns], color=color, alpha=0.2, linewidth=0
            )
