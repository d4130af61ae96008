"""What longer training makes of ALSDGC's lead: test loss less that of the best fixed norm at each number of steps."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regrad.report.marks import draw_interval, draw_margin
from regrad.report.outcomes import Outcomes
from regrad.report.outcomes import change as outcomes_change
from regrad.report.style import PAGE_INCHES, canvas
from regrad.report.tables import interval_text
from regrad.results import Record
from regrad.statistics.intervals import Interval, paired_interval
from regrad.studies.alsdgc.arms import ARMS
from regrad.studies.alsdgc.quantities import best_fixed, runs, tasks
from regrad.studies.alsdgc.sizes import TITLES

SHOWN = ("V0", "V4")
NONE = "no number, as one length alone was run"


def by_budget(outcomes: Outcomes, task: str, arm: str) -> dict[float, Outcomes]:
    """Return an arm's runs of a task by their length over the usual one, shortest first."""
    others = runs(outcomes, f"budget-{task}", arm).grouped(lambda run: float(run.spec.tags["budget"]))
    return dict(sorted({1.0: runs(outcomes, task, arm), **others}.items()))


def leads(outcomes: Outcomes, task: str, arm: str) -> dict[float, dict[int, float]]:
    """Return an arm's test loss less the best fixed norm's, by length and shared seed."""
    mine, best = by_budget(outcomes, task, arm), by_budget(outcomes, task, best_fixed(outcomes, task))
    return {length: mine[length].leads(best[length]) for length in mine if length in best}


def change(outcomes: Outcomes, task: str, arm: str) -> Interval | None:
    """Return by how much a lead changes from the shortest training to the longest, seed by seed."""
    by_length = [lead for lead in leads(outcomes, task, arm).values() if lead]
    return outcomes_change(by_length[0], by_length[-1]) if len(by_length) > 1 else None


def lengthened(outcomes: Outcomes) -> list[str]:
    """Return the tasks that ran at several lengths; the first of all where none did."""
    names = tasks(outcomes)
    return [task for task in names if outcomes.part(f"budget-{task}")] or names[:1]


def fig_scale(records: Sequence[Record], margin: float) -> Figure:
    """Test loss of printed and repaired rules less the best fixed norm's by steps; the band is the ledger's margin."""
    outcomes = Outcomes(records)
    shown = lengthened(outcomes)
    with canvas(width=PAGE_INCHES, height=2.0, ncols=max(2, len(shown)), squeeze=False) as (figure, axes):
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        for axis, task in zip(axes.flat, shown, strict=False):
            draw_leads(axis, outcomes, task, margin)
        axes.flat[0].set_ylabel("minus best norm (nats)")
        if any(handles := axes.flat[0].get_legend_handles_labels()):
            figure.legend(*handles, loc="outside upper center", ncols=len(SHOWN))
    return figure


def draw_leads(axis: Axes, outcomes: Outcomes, task: str, margin: float) -> None:
    """Draw each arm's lead against the number of steps; where there is one number, arm beside arm."""
    draw_margin(axis, margin)
    axis.set_title(TITLES[task])
    steps = outcomes.part(task).records[0].spec.steps
    if len(by_budget(outcomes, task, SHOWN[0])) == 1:
        draw_beside(axis, outcomes, task, steps)
        return
    for shift, arm in zip((0.97, 1.03), SHOWN, strict=True):
        for length, lead in leads(outcomes, task, arm).items():
            if lead:
                draw_interval(axis, shift * length * steps, paired_interval([*lead.values()]), ARMS[arm].style)
        axis.plot([], [], ARMS[arm].marker, color=ARMS[arm].color, label=ARMS[arm].label)
    axis.set(xscale="log", xlabel="steps (log scale)")
    places = [round(length * steps) for length in by_budget(outcomes, task, SHOWN[0])]
    axis.set_xticks(places, [f"{place:,}" for place in places])
    axis.minorticks_off()


def draw_beside(axis: Axes, outcomes: Outcomes, task: str, steps: int) -> None:
    for place, arm in enumerate(SHOWN):
        if lead := leads(outcomes, task, arm).get(1.0):
            draw_interval(axis, place, paired_interval([*lead.values()]), ARMS[arm].style)
    axis.set(xticks=range(len(SHOWN)), xticklabels=[ARMS[arm].label for arm in SHOWN], xlabel=f"at {steps:,} steps")
    axis.set_xlim(-0.5, len(SHOWN) - 0.5)


def scale_numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return how each lead changes from the shortest training to the longest, in sentences, and the lengths."""
    outcomes = Outcomes(records)
    shown = lengthened(outcomes)
    lengths = sorted({length for task in shown for length in by_budget(outcomes, task, "clip-1")})
    texts = {"alsdgc/scale/lengths": ", ".join(f"{length:g}" for length in lengths)}
    texts |= {"alsdgc/scale/longer": "yes"} if len(lengths) > 1 else {}
    for arm in SHOWN:
        changes = [f"{interval_text(change(outcomes, task, arm), NONE)} ({TITLES[task]})" for task in shown]
        texts[f"alsdgc/scale/{arm}"] = ", ".join(changes)
    return texts
