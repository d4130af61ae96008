"""Figures of the study of Adam's preconditioner: learning rates, the weight of the variance, stability."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from regrad.report.style import PAGE_INCHES, canvas, method
from regrad.results import Record, rows
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.micro_adam.rows import (
    ORDER,
    arms,
    choices,
    diverged,
    end_losses,
    largest_stable,
    multiple,
    of_part,
    stability,
)

UNIT = {"language": "nats per byte", "images": "nats"}
NAMED = ("adam", "micro_adam", "micro_adam_var", "micro_adam_msq")
REFERENCE = {"color": "#909090", "lw": 0.7, "ls": "--"}


def fig_learning_rates(records: Sequence[Record], part: str = "language") -> Figure:
    """Final validation loss of tuning runs against learning rate, without and with clipping; rings: chosen."""
    with canvas(width=PAGE_INCHES, height=2.5, ncols=2, sharey=True) as (figure, axes):
        for axis, suffix, title in zip(axes, ("", "+clip"), ("no clipping", "clipped to global norm 1"), strict=True):
            for name in NAMED:
                if f"{name}{suffix}" in arms(records, part):
                    draw_tuning(axis, records, part, f"{name}{suffix}")
            axis.set(xscale="log", xlabel="learning rate (log scale)", title=title)
        # Above the untrained model's loss a run counts as diverged; the tuning table has their number.
        untrained = max(record.curves["validation_loss"].y[0] for record in of_part(records, part))
        axes[0].set_ylim(None, min(axes[0].get_ylim()[1], untrained))
        axes[0].set_ylabel(f"final validation loss ({UNIT[part]})")
        axes[0].legend(*axes[0].get_legend_handles_labels(), loc="best")
    return figure


def draw_tuning(axis: Any, records: Sequence[Record], part: str, arm: str) -> None:
    """Draw an arm's tuning runs as dots, their means as a line, and a ring around the chosen learning rate."""
    style, choice = method(arm), choices(records, part)[arm]
    tuning = rows(of_part(records, part), "validation_loss", "tune")
    points = [(r["lr"], r["value"]) for r in tuning if r["arm"] == arm and not r["diverged"]]
    axis.scatter([lr for lr, _ in points], [y for _, y in points], s=4, color=style["color"], alpha=0.5, lw=0)
    finite = sorted((lr, mean) for lr, mean in choice.means.items() if math.isfinite(mean))
    axis.plot([lr for lr, _ in finite], [mean for _, mean in finite], **style)
    if choice.best is not None:
        axis.plot(choice.best, choice.means[choice.best], "o", mfc="none", mec=style["color"], ms=8, mew=1)


def fig_coefficient(records: Sequence[Record]) -> Figure:
    """Test loss against the weight c of the variance in the preconditioner; right, paired difference to Adam."""
    names = [arm for arm in ORDER if arm in arms(records)]
    ends = {arm: end_losses(records, arm) for arm in names}
    labels = {"micro_adam_msq": "0", "adam": "1/B", "micro_adam": "1", "micro_adam_var": "∞"}
    with canvas(ncols=2, width_ratios=(1, 1), height=2.3) as (figure, axes):
        for place, arm in enumerate(names):
            if ends[arm]:
                draw_interval(axes[0], place, paired_interval(list(ends[arm].values())), arm)
            shared = sorted(set(ends[arm]) & set(ends["adam"]))
            if arm != "adam" and shared:
                gap = paired_interval([ends[arm][s] - ends["adam"][s] for s in shared])
                draw_interval(axes[1], place, gap, arm)
        axes[1].axhline(0, **REFERENCE)
        for axis, text in zip(axes, (f"test loss ({UNIT['language']})", "difference to Adam"), strict=True):
            ticks = [labels.get(arm, arm.removeprefix("c=")) for arm in names]
            axis.set(xticks=range(len(names)), xticklabels=ticks, ylabel=text, xlabel="c in ν = μ² + c σ²")
            axis.set_xlim(-0.5, len(names) - 0.5)
            axis.tick_params(axis="x", labelsize=5.6)
    return figure


def draw_interval(axis: Any, place: float, interval: Interval, arm: str) -> None:
    """Draw an estimate with its 95 % interval; without one (a single seed) the estimate alone."""
    spread = None
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        spread = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
    style = method(arm)
    axis.errorbar(place, interval.estimate, yerr=spread, fmt=style["marker"], color=style["color"], capsize=2)


def fig_stability(records: Sequence[Record]) -> Figure:
    """Share of seeds that diverge against learning rate over the optimum; right, the largest stable one."""
    names = [arm for arm in arms(records) if stability(records, arm)]
    with canvas(width=PAGE_INCHES, height=2.2, ncols=2, width_ratios=(1.5, 1)) as (figure, axes):
        for place, arm in enumerate(names):
            style, by_seed = method(arm), stability(records, arm)
            runs = [run for seed in by_seed.values() for run in seed]
            steps = sorted({multiple(run) for run in runs})
            rates = [fmean(diverged(run) for run in runs if multiple(run) == step) for step in steps]
            dashed = {"ls": "--", "mfc": "white"} if "+" in arm else {}
            # A hair apart, so that equal rates do not hide each other.
            axes[0].plot(steps, [rate + 0.012 * (place - len(names) / 2) for rate in rates], **style, **dashed)
            limits = [largest_stable(seed) for seed in by_seed.values()]
            axes[1].scatter(limits, [place] * len(limits), color=style["color"], s=14, alpha=0.5, linewidths=0)
            axes[1].plot(2 ** fmean(math.log2(x) for x in limits), place, "|", color=style["color"], ms=11, mew=1.6)
        axes[0].set(xlabel="learning rate / optimum (log scale)", ylabel="share of seeds that diverged")
        axes[1].set(xlabel="largest stable learning rate / optimum", ylim=(len(names) - 0.5, -0.5))
        axes[1].set(yticks=range(len(names)), yticklabels=[method(arm)["label"] for arm in names])
        for axis in axes:
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:g}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
