"""Figures of the DGS study: the theorems, learning rates and learning curves, and the document's bar charts."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from regrad.report.style import PAGE_INCHES, canvas, method
from regrad.results import Record, rows
from regrad.statistics.intervals import paired_interval
from regrad.studies.dgs.document import TABLES
from regrad.studies.dgs.rows import COMPARED, MODEL_NAMES, arms, cells, choices, ends, runs, target
from regrad.studies.micro_adam.rows import diverged, of_part

LETTERS = {
    "equation": "E1",
    "equation_per_tensor": "E1L",
    "equation_tensor_norms": "E1T",
    "equation_magnitude_rate": "E4",
    "steps": "S1",
    "steps_per_tensor": "S1T",
}
GREY = "#909090"


def fig_theorems(curves: Mapping[str, Any], records: Sequence[Record]) -> Figure:
    """Update against gradient, cosine with the gradient on the network, and step length against size."""
    with canvas(width=PAGE_INCHES, height=2.3, ncols=3) as (figure, axes):
        draw_sizes(axes[0], curves)
        draw_cosines(axes[1], records)
        for name, norms in curves["norms"].items():
            style = method(name.split()[0])
            style["label"] = {"E1": "E1, γ = 1", "E1 1/n": "E1, γ = 1/n", "S1": "S1"}[name]
            axes[2].plot(curves["counts"], norms, **style, ls="--" if "1/n" in name else "-")
        axes[2].set(xscale="log", yscale="log", xlabel="parameters n", ylabel="‖Δ‖₂ at η = 0.001")
        axes[2].legend()
    return figure


def draw_sizes(axis: Any, curves: Mapping[str, Any]) -> None:
    """Draw |update| against |gradient| of one entry, each form at 1 where the gradient is 1."""
    x = curves["magnitudes"]
    middle = min(range(len(x)), key=lambda k: abs(math.log(x[k])))
    for reading in ("equation", "equation_magnitude_rate", "steps"):
        y = curves["sizes"][reading]
        style = method(LETTERS[reading]) | {"marker": None, "label": LETTERS[reading]}
        axis.plot(x, [v / y[middle] for v in y], **style)
    y = curves["sizes"]["inverse"]
    axis.plot(x, [v / y[middle] for v in y], color=GREY, ls=":", label="the sentence (not printed)")
    axis.set(xscale="log", yscale="log", xlabel="|g| of an entry", ylabel="|Δ| of that entry, at |g| = 1: 1")
    axis.legend()


def draw_cosines(axis: Any, records: Sequence[Record]) -> None:
    """Draw the cosine of each reading's update with the gradient, at checkpoints of momentum SGD's runs."""
    found = runs(records, "images", "momentum", model="resnet20").values()
    for place, (reading, letter) in enumerate(LETTERS.items()):
        values = [y for r in found if f"cosine/{reading}" in r.curves for y in r.curves[f"cosine/{reading}"].y]
        style = method(letter)
        axis.scatter(values, [place] * len(values), color=style["color"], marker=style["marker"], s=10, alpha=0.6)
    axis.set(yticks=range(len(LETTERS)), yticklabels=LETTERS.values(), xlim=(0, 1.04), ylim=(len(LETTERS) - 0.5, -0.5))
    axis.set_xlabel("cosine of Δ and gradient, ResNet-20")


def fig_learning_rates(records: Sequence[Record]) -> Figure:
    """Final validation loss of tuning runs against learning rate; rings: chosen. Right, learning curves."""
    with canvas(width=PAGE_INCHES, height=2.6, ncols=3, sharey=True) as (figure, axes):
        names = arms(records, "images")
        for axis, small in zip(axes[:2], (True, False), strict=True):  # readings have capital letters
            for arm in [a for a in names if a.islower() == small]:
                draw_tuning(axis, records, arm)
            axis.set(xscale="log", xlabel="learning rate (log scale)")
            axis.legend(ncols=2)
        for arm in [a for a in (*COMPARED, "sgd", "E1") if a in names]:
            draw_curve(axes[2], records, arm)
        axes[2].axhline(target(records), color=GREY, lw=0.7, ls="--")
        axes[2].set(xlabel="steps; dashed: the target")
        axes[2].legend()
        axes[0].set(ylabel="validation loss (nats, log scale)", yscale="log")
        untrained = max(r.curves["validation_loss"].y[0] for r in of_part(records, "images") if r.curves)
        axes[0].set_ylim(None, min(axes[0].get_ylim()[1], 1.25 * untrained))
    return figure


def draw_tuning(axis: Any, records: Sequence[Record], arm: str) -> None:
    """Draw an arm's tuning runs as a line, and a ring around the chosen learning rate."""
    style, choice = method(arm), choices(records, "images")[arm]
    tuning = [r for r in rows(of_part(records, "images"), "validation_loss", "tune") if r["arm"] == arm]
    finite = sorted((lr, choice.means[lr]) for lr in {r["lr"] for r in tuning} if math.isfinite(choice.means[lr]))
    dashed = {"ls": "--"} if arm in ("E1L", "E1T", "S1T") else {}
    axis.plot([lr for lr, _ in finite], [y for _, y in finite], **style, **dashed)
    if choice.best is not None:
        axis.plot(choice.best, choice.means[choice.best], "o", mfc="none", mec=style["color"], ms=8, mew=1)


def draw_curve(axis: Any, records: Sequence[Record], arm: str) -> None:
    """Draw the mean validation loss of an arm's fresh seeds on ResNet-20."""
    kept = [r for r in runs(records, "images", arm, model="resnet20").values() if not diverged(r)]
    curves = [record.curves["validation_loss"] for record in kept]
    if curves:
        axis.plot(curves[0].x, [fmean(ys) for ys in zip(*(c.y for c in curves), strict=True)], **method(arm))


def fig_bars(records: Sequence[Record]) -> Figure:
    """The document's two bar charts beside their counterparts: accuracy of spiking networks, ours below."""
    with canvas(width=PAGE_INCHES, height=3.4, nrows=2, ncols=2, sharex="col") as (figure, axes):
        for column, base in enumerate(("lars", "adam")):
            theirs, ours, labels = [], [], []
            for model, reset in [cell for cell in cells(records) if (base, *cell) in TABLES]:
                theirs += [cell.accuracy for cell in TABLES[base, model, reset]]
                for arm in (base, f"{base}+dgs"):
                    ours.append(ends(runs(records, "spiking", arm, model=model, reset=reset), "test_accuracy"))
                labels += [f"{MODEL_NAMES[model]}\n{reset}\n{kind}" for kind in ("baseline", "DGS")]
            draw_bars(axes[0][column], theirs, base)
            draw_bars(axes[1][column], [fmean(v.values()) if v else math.nan for v in ours], base)
            for place, values in enumerate(ours):
                draw_spread(axes[1][column], place, list(values.values()))
            axes[1][column].set(xticks=range(len(labels)), xticklabels=labels)
            axes[0][column].set_title(f"{method(base)['label']}: printed in the document, CIFAR-10")
            axes[1][column].set_title("ours: spiking networks at this scale")
        for row in axes:
            row[0].set_ylabel("accuracy (%)")
    return figure


def draw_bars(axis: Any, values: Sequence[float], base: str) -> None:
    """Draw bars, every second one (DGS) in the colour of the four steps, with their values."""
    colors = [method(base)["color"], method("S1")["color"]] * (len(values) // 2)
    bars = axis.bar(range(len(values)), values, color=colors, width=0.6)
    axis.bar_label(bars, fmt="{:.4g}", fontsize=6, padding=1)
    axis.margins(y=0.15)


def draw_spread(axis: Any, place: float, values: list[float]) -> None:
    """Draw the 95 % interval over seeds, where there is one."""
    if not values:
        return
    interval = paired_interval(values)
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        spread = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
        axis.errorbar(place, interval.estimate, yerr=spread, color="#303030", capsize=2, lw=0.8)
