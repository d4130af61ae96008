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
from regrad.studies.dgs.quantities import MODEL_NAMES, budget_runs, image_runs

CONTROLS = ("lars", "adam")
NONE = "no number, as no longer runs were made"


class Place(NamedTuple):
    """Where S1 was compared: a network and a number of steps."""

    model: str
    runs: Mapping[str, Outcomes]  # by arm

    @property
    def name(self) -> str:
        steps = next((f"\n{run.spec.steps:,} steps" for runs in self.runs.values() for run in runs), "")
        return f"{MODEL_NAMES[self.model]}{steps}"

    def gap(self, control: str) -> Interval | None:
        return self.runs["S1"].gap(self.runs[control], "test_accuracy")

    def leads(self, control: str) -> dict[int, float]:
        """Return S1's accuracy less the control's by seed, in points."""
        return self.runs["S1"].leads(self.runs[control], "test_accuracy")


def places(outcomes: Outcomes) -> list[Place]:
    """Return the networks as long as they are compared, then the shallower one at the longer one; without runs none."""
    arms = ("S1", *CONTROLS)
    found = [Place(model, {arm: image_runs(outcomes, arm, model) for arm in arms}) for model in MODEL_NAMES]
    longer = {arm: budget_runs(outcomes, arm) for arm in arms}
    return [*found, Place("resnet20", longer)] if len(outcomes.part("budget")) else found


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
    """Return by how much S1's lead changes with the budget, and what the arms reach with the longer one."""
    outcomes = Outcomes(records)
    first, *_, last = places(outcomes)
    longer = len(outcomes.part("budget")) > 0
    texts = {"dgs/scale/times": outcomes.part("budget").values("times")[0] if longer else "1"}
    texts |= {"dgs/scale/longer": "yes"} if longer else {}
    for control in CONTROLS:
        moved = change(first.leads(control), last.leads(control)) if longer else None
        texts[f"dgs/scale/S1-{control}"] = interval_text(last.gap(control) if longer else None, NONE, 1)
        texts[f"dgs/scale/S1-{control}/change"] = interval_text(moved, NONE, 1)
    for arm in ("S1", *CONTROLS):
        texts[f"dgs/scale/{arm}"] = interval_text(last.runs[arm].mean("test_accuracy") if longer else None, NONE, 1)
    return texts
