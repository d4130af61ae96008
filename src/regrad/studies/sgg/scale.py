"""What grows with the model and with the budget of SGG's effect: paired differences of test loss, drawn and told."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from regrad.report.marks import draw_interval, draw_margin, legend_above
from regrad.report.outcomes import change, interval
from regrad.report.style import COLUMN_INCHES, canvas
from regrad.report.tables import interval_text
from regrad.results import Record
from regrad.statistics.intervals import Interval
from regrad.studies.sgg.arms import PRETRAINING, SMALLEST, Comparison, SGGArm
from regrad.studies.sgg.outcomes import SGGOutcomes

NONE = "no number, as no longer runs were made"


class Place(NamedTuple):
    """Where AdamW was compared: a model, and for how many times the steps."""

    name: str
    runs: SGGOutcomes
    comparison: Comparison

    def differences(self, control: SGGArm) -> dict[int, float]:
        """Return SGG's test loss less the control's by seed."""
        return self.runs.arm(self.comparison.wrapped.name).leads(self.runs.arm(control.name))

    def gap(self, control: SGGArm) -> Interval | None:
        return interval(self.differences(control).values())


def places(outcomes: SGGOutcomes) -> list[Place]:
    """Return the models, the smallest first, then the smallest with more steps where there are such runs."""
    compared = outcomes.fresh.present(PRETRAINING["adamw"])
    found = [Place(outcomes.size(comparison), outcomes.fresh, comparison) for comparison in compared]
    if factor := outcomes.times:
        name = f"{outcomes.size(SMALLEST)}, {factor} × steps"
        found.append(Place(name, outcomes.part("budget"), SMALLEST))
    return found


def fig_scale(records: Sequence[Record], margin: float) -> Figure:
    """SGG's test loss less that of tuned AdamW and of AdamW at the matched rate; the band is the ledger's margin."""
    shown = places(SGGOutcomes(records))
    with canvas(width=COLUMN_INCHES, height=2.0) as (figure, axis):
        draw_margin(axis, margin)
        for shift, which in ((-0.1, "plain"), (0.1, "matched")):
            for place, where in enumerate(shown):
                control = getattr(where.comparison, which)
                if (gap := where.gap(control)) is not None:
                    draw_interval(axis, place + shift, gap, control.style)
            control = getattr(SMALLEST, which)
            axis.plot([], [], control.marker, color=control.color, label=f"minus {control.label}")
        axis.set(xticks=range(len(shown)), xticklabels=[where.name for where in shown], ylabel="nats per byte")
        axis.set_xlim(-0.5, len(shown) - 0.5)
        legend_above(axis, 2)
    return figure


def scale_numbers(outcomes: SGGOutcomes) -> dict[str, str]:
    """Return SGG's effect with more steps, and by how much it changes with steps and with the model, paired by seed."""
    found, factor = places(outcomes), outcomes.times
    models = found[:-1] if factor else found
    texts = {"sgg/scale/times": str(factor or 1)} | ({"sgg/scale/longer": "yes"} if factor else {})
    if not models:
        return texts
    for which in ("plain", "matched"):
        first, largest, longer = (
            place.differences(getattr(place.comparison, which)) for place in (models[0], models[-1], found[-1])
        )
        texts[f"sgg/scale/{which}"] = interval_text(interval(longer.values()) if factor else None, NONE)
        texts[f"sgg/scale/{which}/by-budget"] = interval_text(change(first, longer) if factor else None, NONE)
        texts[f"sgg/scale/{which}/by-size"] = interval_text(change(first, largest), NONE)
    return texts
