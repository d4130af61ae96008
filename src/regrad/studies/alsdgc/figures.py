"""Figures of the study of ALSDGC: its rules, its tasks, learning rates, adaptation, bad batches."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from regrad.report.style import BLUE, GREY, ORANGE, PAGE_INCHES, RED, canvas, method, ramp
from regrad.results import Record
from regrad.statistics.intervals import paired_interval
from regrad.studies.alsdgc.rows import arms, best_fixed, diverged, end_losses, fresh, multiple, tasks, width, widths

NAMES = {
    "plain": "plain CNN",
    "resnet": "ResNet",
    "rnn": "RNN, pixels",
    "lstm": "LSTM, reviews",
    "transformer": "transformer, reviews",
    "translation": "translation",
    "imagenet": "ImageNet",
}
RUNGS = ("V0", "V1", "V2", "V3", "V4")
SHOWN = ("none", "clip-1", *RUNGS, "placebo", "autoclip-10", "zclip", "agc", "adagc", "lamb", "emaclip")
REFERENCE = {"color": "#909090", "lw": 0.7, "ls": "--"}


def fig_theorems(curves: Mapping[str, Any]) -> Figure:
    """What the printed rules do: the clock, the threshold, SGD's multiplied rate and Adam's step, overflows."""
    with canvas(width=PAGE_INCHES, height=1.9, ncols=4) as (figure, axes):
        axes[0].step(range(41), curves["scale"][:41], color=RED, where="post")
        axes[0].set(yscale="log", xlabel="step", ylabel="loss scale s", title="the scale is a clock")
        axes[0].set_yscale("log", base=2)
        for place, (lr, path) in enumerate(curves["threshold"].items()):
            color = ramp(place + 2, 6)
            axes[1].plot(path, color=color, label=f"η = {lr:g}")
            axes[1].axhline(curves["rest"][lr], **{**REFERENCE, "color": color})
            axes[2].plot(curves["multiplier"][lr], color=color, lw=1.6 - 0.5 * place)
        axes[1].set(yscale="log", xlabel="step", ylabel="threshold θ", title="θ goes to median(g) / η")
        axes[1].legend(loc="upper left")
        axes[2].plot(curves["adam"], color=ORANGE)
        axes[2].text(0.97, 0.62, "SGD (any η)", transform=axes[2].transAxes, ha="right", fontsize=6)
        axes[2].text(0.97, 0.14, "Adam", transform=axes[2].transAxes, ha="right", fontsize=6, color=ORANGE)
        axes[2].set(yscale="log", xlabel="step", ylabel="step / expected", title="steps are multiplied")
        for name, color, label in (("overflow", RED, "no interval"), ("overflow_interval", BLUE, "GradScaler's")):
            axes[3].plot(list(accumulate(curves[name])), color=color, label=label)
        axes[3].set(xlabel="step", ylabel="overflows so far", title="every second step overflows")
        axes[3].legend(loc="upper left")
    return figure


def fig_tasks(records: Sequence[Record]) -> Figure:
    """Test loss of every arm on every task less that of the best fixed norm, paired, with 95 % intervals."""
    names = tasks(records)
    shown = [arm for arm in SHOWN if any(arm in arms(records, task) for task in names)]
    with canvas(width=PAGE_INCHES, height=2.7, ncols=len(names), sharey=True) as (figure, axes):
        for axis, task in zip(axes, names, strict=True):
            reference = end_losses(records, best_fixed(records, task), task)
            for place, arm in enumerate(shown):
                ends = end_losses(records, arm, task)
                gaps = [ends[seed] - reference[seed] for seed in sorted(set(ends) & set(reference))]
                if gaps:
                    draw_gap(axis, place, gaps, arm)
                elif arm in arms(records, task):
                    axis.text(0.5, place, "diverged", fontsize=5, transform=axis.get_yaxis_transform())
            axis.axvline(0, **REFERENCE)
            axis.set_title(NAMES[task], fontsize=6.5)
            axis.tick_params(axis="x", labelsize=5.5)
            axis.locator_params(axis="x", nbins=3)
        axes[0].set(yticks=range(len(shown)), yticklabels=[method(arm)["label"] for arm in shown])
        axes[0].invert_yaxis()
        figure.supxlabel("test loss minus that of the best fixed norm (nats)", fontsize=7)
    return figure


def draw_gap(axis: Any, place: float, gaps: Sequence[float], arm: str) -> None:
    """Draw a paired difference with its interval; a single seed has none."""
    interval, style = paired_interval(list(gaps)), method(arm)
    spread = None
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        spread = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
    axis.errorbar(interval.estimate, place, xerr=spread, fmt=style["marker"], color=style["color"], capsize=1.5, ms=3)


def fig_widths(records: Sequence[Record]) -> Figure:
    """Final validation loss over learning rates around each arm's optimum; right, decades within 5 % of the best."""
    names = arms(records, "width")
    with canvas(width=PAGE_INCHES, height=2.2, ncols=2, width_ratios=(1.6, 1)) as (figure, axes):
        for place, arm in enumerate(names):
            style, by_seed = method(arm), widths(records, arm)
            runs = [run for of_seed in by_seed.values() for run in of_seed if not diverged(run)]
            rates = sorted({multiple(run) for run in runs})
            means = [fmean(r.curves["validation_loss"].y[-1] for r in runs if multiple(r) == rate) for rate in rates]
            axes[0].plot(rates, means, **style)
            decades = [width(of_seed) for of_seed in by_seed.values()]
            axes[1].scatter(decades, [place] * len(decades), color=style["color"], s=14, alpha=0.5, linewidths=0)
            axes[1].plot(fmean(decades), place, "|", color=style["color"], ms=11, mew=1.6)
        axes[0].set_xscale("log", base=2)
        axes[0].xaxis.set_major_formatter("{x:g}")
        axes[0].set(xlabel="learning rate / optimum (log scale)", ylabel="validation loss (nats)")
        axes[0].legend(loc="best")
        axes[1].set(xlabel="decades within 5 % of the best", ylim=(len(names) - 0.5, -0.5))
        axes[1].set(yticks=range(len(names)), yticklabels=[method(arm)["label"] for arm in names])
    return figure


def fig_adaptation(records: Sequence[Record], task: str = "plain") -> Figure:
    """Loss scale, threshold and share of steps clipped along the runs of the rungs, mean over fresh seeds."""
    panels = (("scale", "loss scale s"), ("threshold", "threshold θ"), ("clipped", "share of steps clipped"))
    with canvas(width=PAGE_INCHES, height=1.9, ncols=3) as (figure, axes):
        for arm in (arm for arm in arms(records, task) if arm[0] == "V"):
            style = method(arm)
            for axis, (name, label) in zip(axes, panels, strict=True):
                curves = [r.curves[f"scaler/{name}"] for r in fresh(records, arm, task) if f"scaler/{name}" in r.curves]
                values: dict[float, list[float]] = {}
                for curve in curves:
                    for x, y in zip(curve.x, curve.y, strict=True):
                        values.setdefault(x, []).append(y)
                means = [fmean(found) for _, found in sorted(values.items())]
                axis.plot(sorted(values), means, color=style["color"], label=style["label"])
                axis.set(xlabel="step", ylabel=label)
        axes[0].set_yscale("log", base=2)
        axes[1].set_yscale("log")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def fig_spikes(records: Sequence[Record]) -> Figure:
    """Validation loss along runs with bad batches (dotted lines), mean over the seeds that stayed finite."""
    with canvas(height=2.2) as (figure, axis):
        for arm in arms(records, "spikes"):
            runs = [run for run in fresh(records, arm, "spikes") if not run.diverged]
            if runs:
                style = method(arm)
                means = [fmean(values) for values in zip(*(r.curves["validation_loss"].y for r in runs), strict=True)]
                dash = "--" if arm == "clip-0.1" else "-"  # the two norms share a colour
                axis.plot(runs[0].curves["validation_loss"].x, means, dash, color=style["color"], label=style["label"])
        for spike in fresh(records, "clip-1", "spikes")[0].spec.problem.options["spike_steps"]:  # type: ignore[union-attr]
            axis.axvline(float(spike), color=GREY, lw=0.7, ls=":")  # type: ignore[arg-type]
        untrained = max(run.curves["validation_loss"].y[0] for run in fresh(records, "clip-1", "spikes"))
        top = min(axis.get_ylim()[1], 30 * untrained)
        axis.set(xlabel="step", ylabel="validation loss (nats, log scale)", yscale="log", ylim=(None, top))
        axis.legend(loc="upper left")
    return figure
