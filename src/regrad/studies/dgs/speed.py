"""How fast and how smoothly runs of the DGS study get to the target: survival curves, and rises of the loss."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import isfinite

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regrad.report.outcomes import Outcomes
from regrad.report.style import PAGE_INCHES, canvas
from regrad.results import Record
from regrad.studies.dgs.arms import ARMS, DGSArm
from regrad.studies.dgs.quantities import MODEL_NAMES, image_runs, target

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
        # A censored run is at risk until the end, which is later than any event: times are compared as they are.
        at_risk = sum(other >= time for other in times)
        share *= 1 - events.count(time) / at_risk
        corners.append((time, share))
    return [*corners, (end, share)]


def largest_rise(record: Record) -> float:
    """Return by how much the validation loss rises at most from one evaluation to the next, in nats; never below 0."""
    losses = record.curves["validation_loss"].y
    return max([0.0, *(later - earlier for earlier, later in pairwise(losses))])


def rises(runs: Iterable[Record]) -> list[float]:
    """Return each run's largest rise; one that became non-finite has none."""
    return [largest_rise(run) for run in runs if run.finite]


def censored(times: Mapping[int, float]) -> int:
    return sum(not isfinite(time) for time in times.values())


def fig_speed(records: Sequence[Record]) -> Figure:
    """Share of seeds not yet at the target by step, on both networks; right, the largest rise of the loss."""
    outcomes = Outcomes(records)
    ran = outcomes.part("images").arms
    shown = [ARMS[name] for name in SHOWN if name in ran]
    with canvas(width=PAGE_INCHES, height=2.3, ncols=3) as (figure, axes):
        for axis, (model, name) in zip(axes[:2], MODEL_NAMES.items(), strict=True):
            for place, arm in enumerate(shown):
                level = (target(outcomes, model), 0.008 * (place - len(shown) / 2))
                draw_survival(axis, arm, image_runs(outcomes, arm.name, model), level)
            axis.set(xlabel="steps", title=name, ylim=(-0.06, 1.08))
        axes[0].set_ylabel("share of seeds not at the target")
        draw_rises(axes[2], shown, outcomes)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(shown))
    return figure


def draw_survival(axis: Axes, arm: DGSArm, runs: Outcomes, level: tuple[float, float]) -> None:
    """Draw an arm's curve, a cross at its end if a seed was censored; ``level``: loss to reach, and shift upwards."""
    if not len(runs):
        return
    loss, shift = level
    times = runs.steps_to(loss)
    end = float(max(run.spec.steps for run in runs))
    corners = survival(list(times.values()), end)
    shares = [share + shift for _, share in corners]
    axis.step([time for time, _ in corners], shares, where="post", color=arm.color, label=arm.label)
    if censored(times):
        axis.plot(end, shares[-1], "x", color=arm.color, ms=4, mew=0.9, clip_on=False)


def draw_rises(axis: Axes, arms: Sequence[DGSArm], outcomes: Outcomes) -> None:
    """Draw the largest rise of every run, a line an arm; open marks for the deeper network."""
    for place, arm in enumerate(arms):
        for shift, model, fill in ((-0.15, "resnet20", arm.color), (0.15, "resnet32", "none")):
            values = rises(image_runs(outcomes, arm.name, model))
            axis.scatter(values, [place + shift] * len(values), s=9, edgecolors=arm.color, facecolors=fill, lw=0.6)
    axis.set(yticks=range(len(arms)), yticklabels=[arm.label for arm in arms])
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=0.1)
    ticks, limits = [0, 1, 1e2, 1e4, 1e6], (-0.05, max(2.0, axis.get_xlim()[1]))
    axis.set(xlabel="largest rise (nats, log scale)", title="hollow: ResNet-32", xticks=ticks, xlim=limits)
    axis.minorticks_off()


def speed_numbers(records: Sequence[Record]) -> dict[str, str]:
    outcomes = Outcomes(records)
    arms = outcomes.part("images").arms
    every = {model: [image_runs(outcomes, arm, model) for arm in arms] for model in MODEL_NAMES}
    missed = [runs.steps_to(target(outcomes, model)) for model, of_arms in every.items() for runs in of_arms]
    all_runs = [run for of_arms in every.values() for runs in of_arms for run in runs]
    return {
        "dgs/speed/runs": str(len(all_runs)),
        "dgs/speed/censored": str(sum(map(censored, missed))),
        "dgs/speed/rises": str(sum(rise > RISE for rise in rises(all_runs))),
        "dgs/speed/rise": f"{RISE:g}",
    }
