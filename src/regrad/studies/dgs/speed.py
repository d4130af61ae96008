"""How fast and how smoothly runs of the DGS study get to the target: survival curves, and rises of the loss."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

from matplotlib.figure import Figure

from regrad.report.style import PAGE_INCHES, canvas, method
from regrad.results import Record
from regrad.studies.dgs.rows import MODEL_NAMES, arms, runs, speed

RISE = 0.05  # nats; a smaller one between evaluations is within the noise of a few hundred images
SHOWN = ("sgd", "momentum", "adam", "lars", "sign", "E1", "S1")


def survival(times: Sequence[float], end: float) -> list[tuple[float, float]]:
    """Return the Kaplan-Meier curve of times to an event as corners (time, share without the event just after).

    Args:
        times: One a run; infinite or beyond ``end`` where the run was over first, which censors it at ``end``.
        end: When every run is over.
    """
    events = sorted(time for time in times if time <= end)
    share, corners = 1.0, [(0.0, 1.0)]
    for time in sorted(set(events)):
        at_risk = sum(other >= time for other in times)
        share *= 1 - events.count(time) / at_risk
        corners.append((time, share))
    return [*corners, (end, share)]


def largest_rise(record: Record) -> float:
    """Return by how much the validation loss rises at most from one evaluation to the next, in nats; never below 0."""
    losses = record.curves["validation_loss"].y
    return max([0.0, *(later - earlier for earlier, later in pairwise(losses))])


def rises(records: Sequence[Record], arm: str, model: str) -> dict[int, float]:
    """Return each fresh seed's largest rise; a run that became non-finite has none."""
    ran = runs(records, "images", arm, model=model)
    return {seed: largest_rise(record) for seed, record in ran.items() if not record.diverged}


def censored(times: Mapping[int, float]) -> int:
    """Return how many runs never reached the target."""
    return sum(not isfinite(time) for time in times.values())


def fig_speed(records: Sequence[Record]) -> Figure:
    """Share of seeds not yet at the target by step, on both networks; right, the largest rise of the loss."""
    found = arms(records, "images")
    shown = [arm for arm in SHOWN if arm in found]
    with canvas(width=PAGE_INCHES, height=2.3, ncols=3) as (figure, axes):
        for axis, (model, name) in zip(axes[:2], MODEL_NAMES.items(), strict=True):
            for place, arm in enumerate(shown):
                draw_survival(axis, records, (arm, model), 0.008 * (place - len(shown) / 2))
            axis.set(xlabel="steps", title=name, ylim=(-0.06, 1.08))
        axes[0].set_ylabel("share of seeds not at the target")
        for place, arm in enumerate(shown):
            for shift, model in ((-0.15, "resnet20"), (0.15, "resnet32")):
                values = list(rises(records, arm, model).values())
                color, fill = method(arm)["color"], "none" if model == "resnet32" else method(arm)["color"]
                axes[2].scatter(values, [place + shift] * len(values), s=9, edgecolors=color, facecolors=fill, lw=0.6)
        axes[2].set(yticks=range(len(shown)), yticklabels=[method(arm)["label"] for arm in shown])
        axes[2].invert_yaxis()
        axes[2].set_xscale("symlog", linthresh=0.1)
        ticks, limits = [0, 1, 1e2, 1e4, 1e6], (-0.05, max(2.0, axes[2].get_xlim()[1]))
        axes[2].set(xlabel="largest rise (nats, log scale)", title="open: ResNet-32", xticks=ticks, xlim=limits)
        axes[2].minorticks_off()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(shown))
    return figure


def draw_survival(axis: Any, records: Sequence[Record], which: tuple[str, str], shift: float) -> None:
    """Draw an arm's curve on a network, a cross at its end if a seed was censored; ``shift`` keeps lines apart."""
    arm, model = which
    times = speed(records, arm, model)
    ran = runs(records, "images", arm, model=model)
    if not times:
        return
    end = float(max(record.spec.steps for record in ran.values()))
    corners = survival(list(times.values()), end)
    style = method(arm)
    shares = [share + shift for _, share in corners]
    axis.step([time for time, _ in corners], shares, where="post", color=style["color"], label=style["label"])
    if censored(times):
        axis.plot(end, shares[-1], "x", color=style["color"], ms=4, mew=0.9, clip_on=False)


def speed_numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return what the prose cites: censored runs, and how many runs ever rose by more than 0.05 nats."""
    every = [(arm, model) for arm in arms(records, "images") for model in MODEL_NAMES]
    times = [speed(records, *which) for which in every]
    rose = sum(rise > RISE for which in every for rise in rises(records, *which).values())
    return {
        "dgs/speed/runs": str(sum(map(len, times))),
        "dgs/speed/censored": str(sum(map(censored, times))),
        "dgs/speed/rises": str(rose),
        "dgs/speed/rise": f"{RISE:g}",
    }

