"""Figures of the study of Adam's preconditioner: learning rates, the weight of the variance, stability."""

import math
from collections.abc import Sequence
from statistics import fmean

from matplotlib.figure import Figure

from regrad.claims.tasks import Task
from regrad.report.budgets import budgets, draw_budgets
from regrad.report.gates import draw_gates
from regrad.report.marks import draw_arms
from regrad.report.outcomes import Outcomes
from regrad.report.style import PAGE_INCHES, canvas
from regrad.report.tuning import draw_tuning
from regrad.results import Record
from regrad.studies.micro_adam.arms import ADAM, ARMS, HEADLINE
from regrad.studies.micro_adam.claims import multiple, stable_limits

UNIT = {"language": "nats per byte", "images": "nats"}
PANELS = {
    "no clipping": ("adam", "micro_adam", "micro_adam_var", "micro_adam_msq"),
    "clipped to global norm 1": ("adam+clip", "micro_adam+clip", "micro_adam_var+clip", "micro_adam_msq+clip"),
}


def fig_learning_rates(records: Sequence[Record], part: str = "language", tasks: Sequence[Task] = ()) -> Figure:
    """Final validation loss on language of tuning runs against learning rate, without and with clipping; rings: chosen.

    Empty of a part that a preset leaves out.
    """
    outcomes = Outcomes(records).part(part)
    with canvas(width=PAGE_INCHES, height=2.5, ncols=2, sharey=True) as (figure, axes):
        for axis, (title, arms) in zip(axes, PANELS.items(), strict=True):
            for arm in arms:
                if arm in outcomes.arms:
                    draw_tuning(axis, outcomes, arm, ARMS[arm].style, dots=True)
            draw_gates(axis, tasks)
            axis.set_title(title)
        # Above the untrained model's loss a run counts as diverged; the tuning table has their number.
        untrained = max((run.curves["validation_loss"].y[0] for run in outcomes), default=math.inf)
        axes[0].set_ylim(None, min(axes[0].get_ylim()[1], untrained))
        axes[0].set_ylabel(f"final validation loss ({UNIT[part]})")
        if len(outcomes):
            axes[0].legend(*axes[0].get_legend_handles_labels(), loc="best")
    return figure


def fig_learning_rates_of_images(records: Sequence[Record]) -> Figure:
    """Final validation loss on images of tuning runs against learning rate, without and with clipping; rings: chosen.

    Empty at a preset that leaves the images out.
    """
    return fig_learning_rates(records, "images")


def fig_coefficient(records: Sequence[Record], tasks: Sequence[Task] = ()) -> Figure:
    """Test loss against the weight c of the variance in the preconditioner; right, paired difference to Adam."""
    language = Outcomes(records).part("language")
    arms = [ARMS[name] for name in language.arms if ARMS[name].plain]
    with canvas(ncols=2, width_ratios=(1, 1), height=2.3) as (figure, axes):
        draw_arms(axes, {arm.name: arm.style for arm in arms}, language.fresh, ADAM.name)
        draw_gates(axes[0], tasks)
        for axis, text in zip(axes, (f"test loss ({UNIT['language']})", "difference to Adam"), strict=True):
            ticks = [arm.tick for arm in arms]
            axis.set(xticks=range(len(arms)), xticklabels=ticks, ylabel=text, xlabel="c in ν = μ² + c σ²")
            axis.set_xlim(-0.5, len(arms) - 0.5)
            axis.tick_params(axis="x", labelsize=7)
    return figure


def fig_stability(records: Sequence[Record]) -> Figure:
    """Share of seeds that diverge against learning rate over the optimum; right, the largest stable one."""
    outcomes = Outcomes(records)
    stability = outcomes.part("stability")
    arms = [ARMS[name] for name in stability.arms]
    with canvas(width=PAGE_INCHES, height=2.2, ncols=2, width_ratios=(1.5, 1)) as (figure, axes):
        for place, arm in enumerate(arms):
            rates = {at: runs.diverged / len(runs) for at, runs in stability.arm(arm.name).grouped(multiple).items()}
            dashed = {"ls": "--", "mfc": "white"} if arm.clip else {}
            # A hair apart, so that equal rates do not hide each other.
            shift = 0.012 * (place - len(arms) / 2)
            axes[0].plot(list(rates), [rate + shift for rate in rates.values()], **arm.style, **dashed)
            limits = list(stable_limits(outcomes, arm.name).values())
            axes[1].scatter(limits, [place] * len(limits), color=arm.color, s=14, alpha=0.5, linewidths=0)
            # The mean of the doublings: the grid is one of factors of two.
            axes[1].plot(2 ** fmean(map(math.log2, limits)), place, "|", color=arm.color, ms=11, mew=1.6)
        axes[0].set(xlabel="learning rate / optimum (log scale)", ylabel="share of seeds that diverged")
        axes[1].set(xlabel="largest stable learning rate / optimum", ylim=(len(arms) - 0.5, -0.5))
        axes[1].set(yticks=range(len(arms)), yticklabels=[arm.label for arm in arms])
        for axis in axes:
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:g}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def fig_scale(records: Sequence[Record], margin: float) -> Figure:
    """Test loss of the variance-led methods less Adam's at each budget that ran; the band is the ledger's margin."""
    looks = {arm: ARMS[arm].style for arm in HEADLINE if arm != ADAM.name}
    with canvas(height=2.3) as (figure, axis):
        draw_budgets(axis, budgets(Outcomes(records), "language"), looks, ADAM.name, margin)
        axis.set_ylabel("difference to Adam (nats)")
    return figure
