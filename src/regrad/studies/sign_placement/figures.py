"""Figures of the study of where the sign goes: records in, figure out."""

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from scipy.stats import norm

from regrad.report.style import PAGE_INCHES, canvas, method
from regrad.results import Record, rows
from regrad.statistics.intervals import paired_interval
from regrad.statistics.tuning import choose

LOSS = "nats per byte"


def arms(records: Sequence[Record]) -> list[str]:
    """Return the arms, from the earliest sign to the latest."""
    found = {r.spec.tags["arm"] for r in records}
    groups = sorted((a for a in found if a.startswith("group-")), key=lambda a: int(a.split("-")[1]))
    return [arm for arm in ("example", *groups, "batch", "ema") if arm in found]


def fresh(records: Sequence[Record], arm: str) -> list[Record]:
    """Return the fresh-seed runs of an arm, by seed."""
    chosen = [r for r in records if r.spec.tags["arm"] == arm and r.spec.tags["phase"] == "fresh"]
    return sorted(chosen, key=lambda r: r.spec.seed)


def claim_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what the claims are decided from: test loss and predicted SNR of each arm and fresh seed."""
    found = [{**r, "metric": "test_loss"} for r in rows(list(records), "test_loss", "fresh")]
    for record in fresh(records, "ema"):
        if not record.diverged:
            scores = predicted_snr(record)
            found += [
                {"arm": a, "seed": record.spec.seed, "value": v, "diverged": False, "metric": "predicted_snr"}
                for a, v in scores.items()
            ]
    return found


def predicted_snr(record: Record) -> dict[str, float]:
    """Return each arm's predicted signal-to-noise ratio: Φ⁻¹ of the resampled share of right signs.

    The share is averaged over coordinates and checkpoints. A Gaussian update of SNR x has the right
    sign with probability Φ(x); unlike the SNR itself the share is defined for an update that never varies.
    """
    prefix = "noise/all/resampled_right/"
    shares = {k.removeprefix(prefix): fmean(c.y) for k, c in record.curves.items() if k.startswith(prefix)}
    return {arm: float(norm.ppf(min(share, 1 - 1e-9))) for arm, share in shares.items()}


def fig_learning_rates(records: Sequence[Record]) -> Figure:
    """Validation loss at the end against learning rate, one curve an arm; a ring marks the chosen rate."""
    tuning = rows(list(records), "validation_loss", "tune")
    choices = choose(tuning)
    with canvas(height=2.75) as (figure, axes):
        for arm in arms(records):
            style, choice = method(arm), choices[arm]
            points = [(r["lr"], r["value"]) for r in tuning if r["arm"] == arm and not r["diverged"]]
            if not points:  # every learning rate diverged: there is nothing finite to draw
                continue
            axes.scatter(*zip(*points, strict=True), s=4, color=style["color"], alpha=0.5, linewidths=0)
            finite = sorted((lr, mean) for lr, mean in choice.means.items() if math.isfinite(mean))
            axes.plot([lr for lr, _ in finite], [mean for _, mean in finite], **style)
            if choice.best is not None:
                ring = {"mfc": "none", "mec": style["color"], "ms": 8, "mew": 1}
                axes.plot(choice.best, choice.means[choice.best], "o", **ring)
        axes.set(xscale="log", xlabel="learning rate (log scale)", ylabel=f"final validation loss ({LOSS})")
        put_legend(figure, loc="outside upper center", ncols=2)
    return figure


def fig_curves(records: Sequence[Record]) -> Figure:
    """Validation loss over the run at each arm's best learning rate: mean and range over fresh seeds."""
    with canvas(height=2.75) as (figure, axes):
        for arm in arms(records):
            curves = [r.curves["validation_loss"] for r in fresh(records, arm) if not r.diverged]
            if curves:
                x, columns = curves[0].x, list(zip(*(c.y for c in curves), strict=True))
                axes.plot(x, [fmean(c) for c in columns], **method(arm))
                low, high = [min(c) for c in columns], [max(c) for c in columns]
                axes.fill_between(x, low, high, color=method(arm)["color"], alpha=0.15, linewidth=0)
        tail = [
            y
            for a in arms(records)
            for r in fresh(records, a)
            if "validation_loss" in r.curves
            for y in r.curves["validation_loss"].y[2:]
        ]
        if tail:
            axes.set_ylim(min(tail) - 0.03 * (max(tail) - min(tail)), max(tail))
        axes.set(xlabel="optimizer steps", ylabel=f"validation loss ({LOSS})")
        put_legend(figure, loc="outside upper center", ncols=2)
    return figure


def layer_values(records: Sequence[Record], what: str) -> dict[str, list[float]]:
    """Return, per parameter tensor, its values of ``what`` over seeds and checkpoints of the ``ema`` runs."""
    found: dict[str, list[float]] = {}
    for record in fresh(records, "ema"):
        for name, curve in record.curves.items():
            parts = name.split("/", 2)
            if parts[0] == "noise" and parts[1] != "all" and parts[2] == what:
                found.setdefault(parts[1], []).extend(curve.y)
    return found


def short(parameter: str) -> str:
    """Return a parameter's name as a figure can hold it."""
    text = parameter.removesuffix(".weight").replace("blocks.", "").replace("attention.", "attn ")
    return text.replace("feedforward.", "ff ").replace("_norm", " norm").replace(".", " ").replace("_", " ")


def fig_noise(records: Sequence[Record]) -> Figure:
    """Per layer: signal-to-noise ratio, kurtosis, mean against median, and predicted against observed."""
    snr, kurtosis = layer_values(records, "snr"), layer_values(records, "kurtosis")
    agreement = layer_values(records, "agreement")
    layers = list(snr)
    places = range(len(layers))
    with canvas(width=PAGE_INCHES, height=3.6, ncols=4, width_ratios=(1, 1, 1, 1.6)) as (figure, axes):
        panels = (
            (axes[0], snr, "median\nper-example SNR", "symlog"),
            (axes[1], kurtosis, "median kurtosis\n(Gaussian: 3)", "log"),
            (axes[2], agreement, "mean and median\nagree in sign", "linear"),
        )
        for axis, values, label, scale in panels:
            middle = [median(values[layer]) for layer in layers]
            spread = [[m - min(values[k]) for m, k in zip(middle, layers, strict=True)],
                      [max(values[k]) - m for m, k in zip(middle, layers, strict=True)]]  # fmt: skip
            axis.errorbar(middle, places, xerr=spread, fmt="o", ms=2.6, lw=0.7, color="#404040")
            axis.set(xlabel=label, ylim=(max(len(layers), 1) - 0.5, -0.5), yticks=list(places))
            if scale == "symlog":
                axis.set_xscale("symlog", linthresh=0.01)
                axis.set(xlim=(0, None), xticks=[0, 0.01, 0.1, 1, 10], xticklabels=["0", ".01", ".1", "1", "10"])
            elif scale == "log":
                axis.set_xscale("log")
                axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_yticklabels([short(k) for k in layers] if axis is axes[0] else [], fontsize=5.2)
        axes[1].axvline(3, color="#909090", lw=0.7, ls="--")
        for arm in arms(records):
            gaussian, resampled = (
                layer_values(records, f"gaussian/{arm}"),
                layer_values(records, f"resampled/{arm}"),
            )
            pairs = [(fmean(gaussian[k]), fmean(resampled[k])) for k in layers if gaussian.get(k)]
            if pairs:
                style = method(arm)
                label = style["label"]
                axes[3].scatter(
                    *zip(*pairs, strict=True), s=9, color=style["color"], marker=style["marker"], label=label
                )
        axes[3].plot([0.5, 1], [0.5, 1], color="#909090", lw=0.7, ls="--")
        axes[3].set(
            xlabel="right signs, Gaussian formula",
            ylabel="right signs, measured gradients resampled",
        )
        put_legend(figure, loc="outside upper right", ncols=3)
    return figure


def fig_dose(records: Sequence[Record]) -> Figure:
    """Test loss against the number of examples under one sign; ``ema`` to the right of the whole batch."""
    names = arms(records)
    with canvas(ncols=2, width_ratios=(1.15, 1), height=2.3) as (figure, axes):
        ends = {a: {r.spec.seed: r.metrics["test_loss"] for r in fresh(records, a) if not r.diverged} for a in names}
        for place, arm in enumerate(names):
            if not ends[arm]:
                continue
            style = method(arm)
            interval = paired_interval(list(ends[arm].values()))
            draw_interval(axes[0], place, interval, style)
            shared = sorted(set(ends[arm]) & set(ends.get("ema", {})))
            if arm != "ema" and shared:
                gap = paired_interval([ends[arm][s] - ends["ema"][s] for s in shared])
                draw_interval(axes[1], place, gap, style)
        axes[1].axhline(0, color="#909090", lw=0.7, ls="--")
        batch = next((r.spec.batch_size for r in records), 0)
        label = {"example": "1", "batch": str(batch), "ema": "EMA"}
        ticks = [label.get(a, a.removeprefix("group-")) for a in names]
        for axis, text in zip(axes, (f"test loss ({LOSS})", "difference to EMA"), strict=True):
            axis.set(xticks=range(len(names)), xticklabels=ticks, ylabel=text, xlabel="examples under one sign")
    return figure


def draw_interval(axis: Any, place: int, interval: Any, style: dict[str, Any]) -> None:
    """Draw an estimate with its 95 % interval; without one (a single seed) the estimate alone."""
    spread = None
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        spread = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
    axis.errorbar(place, interval.estimate, yerr=spread, fmt=style["marker"], color=style["color"], capsize=2)


def put_legend(figure: Figure, *, loc: Any, ncols: int) -> None:
    """Add a legend of all labelled artists; none where every run that would have a label is missing."""
    if any(axis.get_legend_handles_labels()[0] for axis in figure.axes):
        figure.legend(loc=loc, ncols=ncols)
