"""What grows with the network and with the budget of S1's lead: paired differences of accuracy, figure and numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from regrad.report.marks import draw_interval, draw_margin, legend_above
from regrad.report.outcomes import Outcomes, change
from regrad.report.style import COLUMN_INCHES, canvas
from regrad.report.tables import interval_text
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.studies.dgs.arms import ARMS
from regrad.studies.dgs.quantities import MODEL_NAMES, budget_runs, budgets, image_runs

CONTROLS = ("lars", "adam")
COMPARED = ("S1", *CONTROLS)
NONE = "no number, as no such runs were made"


class Place(NamedTuple):
    """Where S1 was compared: a network and a number of steps."""

    model: str
    runs: Mapping[str, Outcomes]  # by arm

    @property
    def steps(self) -> int:
        return next((run.spec.steps for runs in self.runs.values() for run in runs), 0)

    @property
    def name(self) -> str:
        return f"{MODEL_NAMES[self.model]}\n{self.steps:,} steps" if self.steps else MODEL_NAMES[self.model]

    def gap(self, control: str) -> Interval | None:
        return self.runs["S1"].gap(self.runs[control], "test_accuracy")

    def leads(self, control: str) -> dict[int, float]:
        """Return S1's accuracy less the control's by seed, in points."""
        return self.runs["S1"].leads(self.runs[control], "test_accuracy")


def places(outcomes: Outcomes) -> list[Place]:
    """Return the shallower network by its steps, the fewest first, then the deeper one."""
    shallower, deeper = (
        Place(model, {arm: image_runs(outcomes, arm, model) for arm in COMPARED}) for model in MODEL_NAMES
    )
    others = [
        Place("resnet20", {arm: budget_runs(outcomes, arm, steps) for arm in COMPARED}) for steps in budgets(outcomes)
    ]
    return [*sorted([shallower, *others], key=lambda place: place.steps), deeper]


def fig_scale(records: Sequence[Record], margin: float) -> Figure:
    """Accuracy of DGS by its steps less Adam's and LARS's, by network and budget; the band is the ledger's margin."""
    shown = places(Outcomes(records))
    with canvas(width=COLUMN_INCHES, height=2.0) as (figure, axis):
        draw_margin(axis, margin)
        for shift, control in ((-0.1, "lars"), (0.1, "adam")):
            for place, where in enumerate(shown):
                if (gap := where.gap(control)) is not None:
                    draw_interval(axis, place + shift, gap, ARMS[control].style)
            arm = ARMS[control]
            axis.plot([], [], arm.marker, color=arm.color, label=f"steps minus {arm.label}")
        axis.set(xticks=range(len(shown)), xticklabels=[where.name for where in shown], ylabel="accuracy (points)")
        axis.set_xlim(-0.5, len(shown) - 0.5)
        legend_above(axis, 2)
    return figure


def scale_numbers(records: Sequence[Record]) -> dict[str, str]:
    """Return by how much S1's lead changes with the budget, and what the arms reach with the longest."""
    outcomes = Outcomes(records)
    *shallower, _ = places(outcomes)
    first, last = shallower[0], shallower[-1]
    several = len(shallower) > 1
    tuned = Place("resnet20", {"S1": image_runs(outcomes, "S1", "resnet20")})
    texts = {
        "dgs/scale/from": f"{first.steps:,}",
        "dgs/scale/to": f"{last.steps:,}",
        "dgs/scale/tuned": f"{tuned.steps:,}",
    }
    texts |= {"dgs/scale/budgets": "yes"} if several else {}
    for control in CONTROLS:
        moved = change(first.leads(control), last.leads(control)) if several else None
        texts[f"dgs/scale/S1-{control}"] = interval_text(last.gap(control) if several else None, NONE, 1)
        texts[f"dgs/scale/S1-{control}/change"] = interval_text(moved, NONE, 1)
    for arm in COMPARED:
        texts[f"dgs/scale/{arm}"] = interval_text(last.runs[arm].mean("test_accuracy") if several else None, NONE, 1)
    return texts
