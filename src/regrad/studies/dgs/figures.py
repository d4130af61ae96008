"""Figures of the DGS study: the theorems, learning rates and learning curves, and the document's bar charts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regrad.claims.tasks import Task
from regrad.report.gates import draw_gate
from regrad.report.marks import COMPARED_WITH, DASHED, error_bar
from regrad.report.outcomes import Outcomes
from regrad.report.style import PAGE_INCHES, canvas
from regrad.report.tuning import draw_tuning
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.studies.dgs.arms import ARMS, READINGS, SCALED, DGSArm
from regrad.studies.dgs.quantities import (
    COMPARED,
    MODEL_NAMES,
    RESETS,
    geometry_runs,
    image_runs,
    spiking_runs,
    target,
)
from regrad.studies.dgs.tables import PRINTED, spiking_task

PREFIX = "DGS, "  # of the readings' labels, which a figure about nothing else leaves out
# Step lengths by their name in the published curves: arm, label, line style.
STEP_LENGTHS = {
    "E1": ("E1", "equation, γ = 1", "-"),
    "E1 1/n": ("E1", "equation, γ = 1/n", "--"),
    "S1": ("S1", "steps", "-"),
}


def fig_theorems(curves: Mapping[str, Any], records: Sequence[Record]) -> Figure:
    """Update against gradient, cosine with the gradient on the network, and step length against size."""
    with canvas(width=PAGE_INCHES, height=2.3, ncols=3) as (figure, axes):
        draw_sizes(axes[0], curves)
        draw_cosines(axes[1], Outcomes(records))
        for name, norms in curves["norms"].items():
            arm, label, dashes = STEP_LENGTHS[name]
            axes[2].plot(curves["counts"], norms, **ARMS[arm].style | {"label": label}, ls=dashes)
        axes[2].set(xscale="log", yscale="log", xlabel="parameters n", ylabel="‖Δ‖₂ at η = 0.001")
        axes[2].legend()
    return figure


def draw_sizes(axis: Axes, curves: Mapping[str, Any]) -> None:
    """Draw |update| against |gradient| of one entry, each form at 1 where the gradient is 1."""
    x = curves["magnitudes"]
    middle = min(range(len(x)), key=lambda k: abs(math.log(x[k])))
    looks: dict[str, dict[str, Any]] = {
        ARMS[name].reading: {"color": ARMS[name].color, "label": ARMS[name].label.removeprefix(PREFIX)}
        for name in ("E1", "E4", "S1")
    }
    # A sentence of the document describes this form, and no equation does.
    looks["inverse"] = {"color": COMPARED_WITH, "label": "the sentence (not printed)", "ls": ":"}
    for form, look in looks.items():
        y = curves["sizes"][form]
        axis.plot(x, [value / y[middle] for value in y], **look)
    axis.set(xscale="log", yscale="log", xlabel="|g| of an entry", ylabel="|Δ| of that entry, at |g| = 1: 1")
    axis.set_ylim(1e-13, None)  # room for the names under the lines
    axis.legend(loc="lower left")


def draw_cosines(axis: Axes, outcomes: Outcomes) -> None:
    curves = [run.curves for run in geometry_runs(outcomes)]
    for place, (reading, arm) in enumerate(READINGS.items()):
        values = [y for of_run in curves if f"cosine/{reading}" in of_run for y in of_run[f"cosine/{reading}"].y]
        axis.scatter(values, [place] * len(values), color=arm.color, marker=arm.marker, s=10, alpha=0.6)
    names = [arm.label.removeprefix(PREFIX) for arm in READINGS.values()]
    axis.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1.04), ylim=(len(names) - 0.5, -0.5))
    axis.set_xlabel("cosine of Δ and gradient, ResNet-20")


def fig_learning_rates(records: Sequence[Record]) -> Figure:
    """Final validation loss of tuning runs against learning rate; rings: chosen. Right, learning curves."""
    outcomes = Outcomes(records)
    images = outcomes.part("images")
    arms = [ARMS[name] for name in images.arms]
    with canvas(width=PAGE_INCHES, height=3.0, ncols=3, sharey=True) as (figure, axes):
        panels = ([arm for arm in arms if not arm.reading], [arm for arm in arms if arm.reading])
        for axis, shown in zip(axes[:2], panels, strict=True):
            for arm in shown:
                draw_tuning(axis, images, arm.name, arm.style | ({"ls": "--"} if arm.by_tensor else {}))
        named = [axis.get_legend_handles_labels() for axis in axes[:2]]
        handles, texts = ([x for of_axis in named for x in of_axis[part]] for part in (0, 1))
        figure.legend(handles, texts, loc="outside upper center", ncols=4)
        draw_curves(axes[2], outcomes)
        axes[0].set(ylabel="validation loss (nats, log scale)", yscale="log")
        untrained = max((run.curves["validation_loss"].y[0] for run in images if run.curves), default=math.inf)
        axes[0].set_ylim(None, min(axes[0].get_ylim()[1], 1.25 * untrained))
    return figure


def draw_curves(axis: Axes, outcomes: Outcomes) -> None:
    for name in (*COMPARED, "sgd", "E1"):
        steps, losses = image_runs(outcomes, name, "resnet20").mean_curve()
        if steps:
            axis.plot(steps, losses, **ARMS[name].style)
    axis.axhline(target(outcomes), **DASHED)
    axis.set(xlabel="steps; dashed: the target")


def fig_bars(records: Sequence[Record], tasks: Mapping[str, Task]) -> Figure:
    """The document's two bar charts beside their counterparts: accuracy of spiking networks, ours below.

    Lines are floor (dotted), bar (dashed) and competent value of the task that the base is trained on.
    """
    outcomes = Outcomes(records)
    with canvas(width=PAGE_INCHES, height=3.4, nrows=2, ncols=2, sharex="col") as (figure, axes):
        for (base, scaled), (theirs, ours) in zip(SCALED.items(), axes.T, strict=True):
            arm = ARMS[base]
            cells = [(model, reset) for model in MODEL_NAMES for reset in RESETS if (base, model, reset) in PRINTED]
            draw_bars(theirs, [printed.accuracy for cell in cells for printed in PRINTED[base, *cell]], arm)
            runs = [spiking_runs(outcomes, name, *cell) for cell in cells for name in (base, scaled.name)]
            draw_means(ours, [of_arm.mean("test_accuracy") for of_arm in runs], arm)
            kinds = [(MODEL_NAMES[model], reset, kind) for model, reset in cells for kind in ("baseline", "DGS")]
            ours.set(xticks=range(len(kinds)), xticklabels=map("\n".join, kinds))
            if (task := spiking_task(tasks, base, cells)) is not None:
                draw_gate(ours, task)
            theirs.set_title(f"{arm.label}: printed in the document, CIFAR-10")
            ours.set_title("ours: spiking networks at this scale")
        for row in axes:
            row[0].set_ylabel("accuracy (%)")
    return figure


def draw_means(axis: Axes, means: Sequence[Interval | None], base: DGSArm) -> None:
    draw_bars(axis, [mean.estimate if mean else math.nan for mean in means], base, where="foot")
    for place, mean in enumerate(means):
        if mean and (spread := error_bar(mean)):
            axis.errorbar(place, mean.estimate, yerr=spread, color="#303030", capsize=2, lw=0.8)


def draw_bars(axis: Axes, values: Sequence[float], base: DGSArm, *, where: Literal["edge", "foot"] = "edge") -> None:
    """Draw bars, every second one (DGS) in the colour of the four steps, with their values."""
    colors = [base.color, ARMS["S1"].color] * (len(values) // 2)
    bars = axis.bar(range(len(values)), values, color=colors, width=0.6)
    if where == "edge":
        axis.bar_label(bars, fmt="{:.4g}", padding=1)
    else:  # at the foot, where no error bar reaches
        for place, value in enumerate(values):
            text = "" if math.isnan(value) else f"{value:.3g}"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if text else None
            axis.annotate(text, (place, 0), xytext=(0, 3), textcoords="offset points", ha="center", bbox=box)
    axis.margins(y=0.15)
