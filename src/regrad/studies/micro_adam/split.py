"""Figures of batch sizes in the study of Adam's preconditioner: how E[gbar²] splits, and η ∝ B^p."""

from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from regrad.claims.tasks import Task
from regrad.report.gates import draw_gates
from regrad.report.marks import DASHED, draw_interval, draw_median, draw_range, parameter_label
from regrad.report.outcomes import Outcomes
from regrad.report.palette import ramp
from regrad.report.style import PAGE_INCHES, canvas
from regrad.results import Record
from regrad.studies.micro_adam.arms import ADAM, ROOT, RULES, Rule
from regrad.studies.micro_adam.figures import UNIT
from regrad.studies.micro_adam.scaling import (
    by_batch_size,
    checkpoints,
    noise_scale,
    regret_interval,
    sequence_length,
    split,
    spread_interval,
    tensors,
    tuned_elsewhere,
)


def thousand_tokens(record: Record, steps: Sequence[float]) -> list[float]:
    return [step * record.spec.batch_size * sequence_length(record) / 1000 for step in steps]


def fig_split(records: Sequence[Record]) -> Figure:
    """The mean squared's share: over training at several B; per tensor at Adam's B; the B of equal shares."""
    outcomes = Outcomes(records)
    runs = [run for run in outcomes.part("language").fresh.arm(ADAM.name) if tensors(run)]
    own = runs[0].spec.batch_size if runs else 1
    names = tensors(runs[0]) if runs else []
    with canvas(width=PAGE_INCHES, height=3.5, ncols=3, width_ratios=(1.5, 1, 1)) as (figure, axes):
        draw_over_time(axes[0], outcomes)
        for place, name in enumerate(names):
            draw_median(axes[1], place, [share for run in runs for share in split(run, own, name)], "o")
            scales = [scale for run in runs if (scale := noise_scale(run, name)) is not None]
            draw_median(axes[2], place, scales, "s")
        axes[1].axvline(0.5, **DASHED)
        axes[2].axvline(own, **DASHED)
        axes[1].set(xlabel=f"share of the mean squared\nat B = {own}", xlim=(0, 1))
        axes[2].set(xlabel="B at which both\nare equal (log scale)", xscale="log")
        axes[2].xaxis.set_minor_formatter(NullFormatter())
        for axis, labels in zip(axes[1:], (map(parameter_label, names), ()), strict=True):
            axis.set(ylim=(max(1, len(names)) - 0.5, -0.5), yticks=range(len(names)))
            axis.set_yticklabels(list(labels))
    return figure


def draw_over_time(axis: Axes, outcomes: Outcomes) -> None:
    by_size = by_batch_size(outcomes, ROOT)
    for place, (size, runs) in enumerate(by_size.items()):
        measured = [run for run in runs if tensors(run) and not run.diverged]
        if measured:
            columns = list(zip(*(split(run, size) for run in measured), strict=True))
            x, color = thousand_tokens(measured[0], checkpoints(measured[0])), ramp(place, len(by_size))
            axis.plot(x, [fmean(column) for column in columns], "o-", color=color, label=f"B = {size}")
            draw_range(axis, x, columns, color=color, alpha=0.15)
    axis.axhline(0.5, **DASHED)
    axis.set(xlabel="thousand tokens", ylabel=r"share of the mean squared in $\mathrm{E}\,\bar{g}^2$", ylim=(0, 1))
    axis.legend(loc="best")


def fig_scaling(records: Sequence[Record], tasks: Sequence[Task] = ()) -> Figure:
    """Adam's curves over tokens under three rules, a line a batch size; last, the rules' regrets."""
    outcomes = Outcomes(records)
    with canvas(width=PAGE_INCHES, height=2.3, ncols=4, width_ratios=(1, 1, 1, 0.75)) as (figure, axes):
        for axis, rule in zip(axes, RULES.values(), strict=False):
            draw_rule(axis, outcomes, rule)
            draw_gates(axis, tasks)
            axis.set(title=rule.label, xlabel="thousand tokens", xlim=(0, None))
        low = min(axis.get_ylim()[0] for axis in axes[:3])
        high = max(axis.get_ylim()[1] for axis in axes[:3])
        for axis in axes[:3]:
            axis.set_ylim(low, high)
        axes[0].set_ylabel(f"validation loss ({UNIT['language']})")
        axes[0].legend(loc="best")
        draw_by_rule(axes[3], outcomes)
    return figure


def draw_rule(axis: Axes, outcomes: Outcomes, rule: Rule) -> None:
    """Draw one rule's validation losses over tokens: mean and range over seeds, untrained models left out."""
    by_size = by_batch_size(outcomes, rule)
    for place, (size, runs) in enumerate(by_size.items()):
        steps, columns = runs.curve()
        if steps:
            x, color = thousand_tokens(runs.records[0], steps[1:]), ramp(place, len(by_size))
            axis.plot(x, [fmean(column) for column in columns[1:]], color=color, label=f"B = {size}")
            draw_range(axis, x, columns[1:], color=color, alpha=0.2)


def draw_by_rule(axis: Axes, outcomes: Outcomes) -> None:
    """Draw each rule's regret with its interval over seeds, its spread over batch sizes where nothing was tuned there.

    Nothing is drawn of a rule that is infinitely bad at every seed.
    """
    name, of_rule = ("regret", regret_interval) if tuned_elsewhere(outcomes) else ("spread over B", spread_interval)
    for place, rule in enumerate(RULES.values()):
        if (interval := of_rule(outcomes, rule)) is not None:
            draw_interval(axis, place, interval, rule.style)
    axis.set(xticks=range(3), xticklabels=[rule.tick for rule in RULES.values()], xlim=(-0.5, 2.5))
    axis.axhline(0, **DASHED)
    axis.set(xlabel="η proportional to", ylabel=f"{name} (nats)")
