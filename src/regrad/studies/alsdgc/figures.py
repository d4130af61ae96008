"""Figures of the study of ALSDGC: its rules, its tasks, learning rates, adaptation, bad batches."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regrad.report.marks import DASHED, error_bar
from regrad.report.outcomes import Outcomes
from regrad.report.palette import BLUE, GREY, ORANGE, RED, ramp
from regrad.report.style import PAGE_INCHES, canvas
from regrad.results import Record
from regrad.studies.alsdgc.arms import ARMS, MOST_ARMS, NORMS, RUNGS
from regrad.studies.alsdgc.quantities import best_fixed, multiple, rates_by_seed, runs, spike_steps, tasks, widths
from regrad.studies.alsdgc.sizes import TITLES

# The other fixed norms are in the table; the best of them is the zero line.
SHOWN = tuple(arm for arm in MOST_ARMS if arm == "clip-1" or arm not in NORMS)


def fig_theorems(curves: Mapping[str, Any]) -> Figure:
    """What the printed rules do: the clock, the threshold, SGD's multiplied rate and Adam's step, overflows."""
    with canvas(width=PAGE_INCHES, height=1.9, ncols=4) as (figure, axes):
        axes[0].step(range(41), curves["scale"][:41], color=RED, where="post")
        axes[0].set(xlabel="step", ylabel="loss scale s", title="the scale is a clock")
        axes[0].set_yscale("log", base=2)
        draw_thresholds(axes[1], curves)
        draw_multipliers(axes[2], curves)
        for name, color, label in (("overflow", RED, "no interval"), ("overflow_interval", BLUE, "GradScaler's")):
            axes[3].plot(list(accumulate(curves[name])), color=color, label=label)
        axes[3].set(xlabel="step", ylabel="overflows so far", title="overflows pile up")
        axes[3].set_ylim(None, 1.6 * axes[3].get_ylim()[1])
        axes[3].legend(loc="upper left")
    return figure


def draw_thresholds(axis: Axes, curves: Mapping[str, Any]) -> None:
    for place, (lr, path) in enumerate(curves["threshold"].items()):
        color = ramp(place + 2, 6)
        axis.plot(path, color=color, label=f"η = {lr:g}")
        axis.axhline(curves["rest"][lr], **DASHED | {"color": color})
    axis.set(yscale="log", ylim=(1e-3, None), xlabel="step", ylabel="threshold θ", title="θ goes to median(g) / η")
    axis.legend(loc="lower right")


def draw_multipliers(axis: Axes, curves: Mapping[str, Any]) -> None:
    """Draw SGD's step over what its learning rate promises, the same at all of them, and Adam's."""
    for place, lr in enumerate(curves["threshold"]):
        axis.plot(curves["multiplier"][lr], color=ramp(place + 2, 6), lw=1.6 - 0.5 * place)
    axis.plot(curves["adam"], color=ORANGE)
    axis.text(0.97, 0.62, "SGD (any η)", transform=axis.transAxes, ha="right")
    axis.text(0.97, 0.24, "Adam", transform=axis.transAxes, ha="right", color=ORANGE)
    axis.set(yscale="log", xlabel="step", ylabel="step / expected", title="steps are multiplied")


def fig_tasks(records: Iterable[Record]) -> Figure:
    """Test loss of every arm on every task less that of the best fixed norm, paired, with 95 % intervals."""
    outcomes = Outcomes(records)
    names = tasks(outcomes)
    present = outcomes.part(*names).arms
    shown = [arm for arm in SHOWN if arm in present]
    panels = max(1, len(names))
    with canvas(width=PAGE_INCHES, height=2.7, ncols=panels, sharey=True, squeeze=False) as (figure, (axes,)):
        for axis, task in zip(axes, names, strict=False):
            draw_gaps(axis, outcomes, task, shown)
            axis.set_title(TITLES[task])
            axis.tick_params(axis="x", labelsize=7)
            axis.locator_params(axis="x", nbins=3)
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}".replace("-", "\N{MINUS SIGN}"))
            axis.set_xlabel("nats")
        axes[0].set(yticks=range(len(shown)), yticklabels=[ARMS[arm].label for arm in shown])
        axes[0].invert_yaxis()
    return figure


def draw_gaps(axis: Axes, outcomes: Outcomes, task: str, shown: list[str]) -> None:
    reference = runs(outcomes, task, best_fixed(outcomes, task))
    for place, arm in enumerate(shown):
        if interval := runs(outcomes, task, arm).gap(reference):
            bar, style = error_bar(interval), ARMS[arm].style
            axis.errorbar(interval.estimate, place, 0, bar, style["marker"], color=style["color"], capsize=1.5, ms=3)
        elif arm in outcomes.part(task).arms:
            axis.text(0.5, place, "diverged", transform=axis.get_yaxis_transform())
    axis.axvline(0, **DASHED)


def fig_widths(records: Iterable[Record]) -> Figure:
    """Final validation loss over learning rates around each arm's optimum; right, decades within 5 % of the best."""
    outcomes = Outcomes(records)
    names = outcomes.part("width").arms
    with canvas(width=PAGE_INCHES, height=2.2, ncols=2, width_ratios=(1.6, 1)) as (figure, axes):
        for place, arm in enumerate(names):
            draw_bowl(axes[0], outcomes, arm)
            decades, color = list(widths(outcomes, arm).values()), ARMS[arm].color
            axes[1].scatter(decades, [place] * len(decades), color=color, s=14, alpha=0.5, linewidths=0)
            axes[1].plot(fmean(decades), place, "|", color=color, ms=11, mew=1.6)
        axes[0].set_xscale("log", base=2)
        axes[0].xaxis.set_major_formatter("{x:g}")
        axes[0].set(xlabel="learning rate / optimum (log scale)", ylabel="validation loss (nats)")
        axes[0].legend(loc="best")
        axes[1].set(xlabel="decades within 5 % of the best", ylim=(len(names) - 0.5, -0.5))
        axes[1].set(yticks=range(len(names)), yticklabels=[ARMS[arm].label for arm in names])
    return figure


def draw_bowl(axis: Axes, outcomes: Outcomes, arm: str) -> None:
    """Draw an arm's final validation loss over learning rates, mean over the seeds that did not diverge there."""
    over_rates = (run for of_seed in rates_by_seed(outcomes, arm).values() for run in of_seed if not run.diverged)
    by_rate = Outcomes(over_rates).grouped(multiple)
    means = [fmean(run.curves["validation_loss"].y[-1] for run in same_rate) for same_rate in by_rate.values()]
    axis.plot(list(by_rate), means, **ARMS[arm].style)


def fig_adaptation(records: Iterable[Record], task: str = "plain") -> Figure:
    """Loss scale, threshold and share of steps clipped along the runs of the rungs, mean over fresh seeds."""
    outcomes = Outcomes(records)
    panels = (("scale", "loss scale s"), ("threshold", "threshold θ"), ("clipped", "share of steps clipped"))
    with canvas(width=PAGE_INCHES, height=1.9, ncols=3) as (figure, axes):
        for axis, (name, label) in zip(axes, panels, strict=True):
            for arm in (arm for arm in outcomes.part(task).arms if arm in RUNGS):
                means = mean_by_step(runs(outcomes, task, arm), f"scaler/{name}")
                axis.plot(list(means), list(means.values()), color=ARMS[arm].color, label=ARMS[arm].label)
            axis.set(xlabel="step", ylabel=label)
        axes[0].set_yscale("log", base=2)
        axes[1].set_yscale("log")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def mean_by_step(results: Outcomes, name: str) -> dict[float, float]:
    """Return a curve's mean at every step at which a run has it: an infinite threshold is not recorded."""
    values: dict[float, list[float]] = {}
    for curve in (run.curves[name] for run in results if name in run.curves):
        for x, y in zip(curve.x, curve.y, strict=True):
            values.setdefault(x, []).append(y)
    return {x: fmean(ys) for x, ys in sorted(values.items())}


def fig_spikes(records: Iterable[Record]) -> Figure:
    """Validation loss along runs with bad batches (dotted lines), mean over the seeds that stayed finite."""
    outcomes = Outcomes(records).part("spikes")
    control = outcomes.arm("clip-1").records
    with canvas(height=2.2) as (figure, axis):
        for arm in outcomes.arms:
            means = mean_by_step(Outcomes(run for run in outcomes.arm(arm) if run.finite), "validation_loss")
            dash = "--" if arm in NORMS and arm != "clip-1" else "-"  # all norms share a colour
            if means:
                axis.plot(list(means), list(means.values()), dash, color=ARMS[arm].color, label=ARMS[arm].label)
        # Taken before the axis is logarithmic, which would choose limits anew.
        top, lowest = axis.get_ylim()[1], min((min(line.get_ydata()) for line in axis.lines), default=None)
        axis.set(xlabel="step", ylabel="validation loss (nats, log scale)", yscale="log")
        if control:  # at preset smoke tuning may leave none
            for spike in spike_steps(control[0]):
                axis.axvline(spike, color=GREY, lw=0.7, ls=":")
            untrained = max(run.curves["validation_loss"].y[0] for run in control)
            axis.set_ylim(lowest and 0.7 * lowest, min(top, 30 * untrained))
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
