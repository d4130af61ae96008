"""Whether a difference survives more training: arms less a reference at each budget, as a figure and as numbers."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from regrad.claims.load import load
from regrad.report.marks import draw_interval, draw_margin, legend_above
from regrad.report.outcomes import Outcomes, change, interval
from regrad.report.tables import NO_GAP, interval_text


def budgets(outcomes: Outcomes, part: str) -> list[Outcomes]:
    """Return the fresh runs of a part, and of the longer ones where a preset has them; the shortest first."""
    return [runs for runs in (outcomes.part(part).fresh, outcomes.part("budget")) if len(runs)]


def margin(ledger: Path, claim: str) -> float:
    """Return the margin of a claim's first test, in its unit."""
    (found,) = (one for one in load(ledger) if one.id == claim)
    return float(found.test[0].margin)  # type: ignore[union-attr]  # a construction has none, and no budgets


def steps_of(runs: Outcomes) -> int:
    return runs.records[0].spec.steps


def draw_budgets(
    axis: Axes, found: Sequence[Outcomes], looks: Mapping[str, Mapping[str, Any]], reference: str, margin: float
) -> None:
    """Draw each arm's paired difference to the reference at each budget, and ±margin as a band around 0."""
    draw_margin(axis, margin)
    for turn, (arm, look) in enumerate(looks.items()):
        for place, runs in enumerate(found):
            if (gap := runs.arm(arm).gap(runs.arm(reference))) is not None:
                draw_interval(axis, place + 0.16 * (turn - (len(looks) - 1) / 2), gap, look)
        axis.plot([], [], look["marker"], color=look["color"], label=look["label"])
    axis.set(xticks=range(len(found)), xticklabels=[f"{steps_of(runs):,}" for runs in found], xlabel="steps")
    axis.set_xlim(-0.5, len(found) - 0.5)
    legend_above(axis, len(looks))


def budget_numbers(found: Sequence[Outcomes], arms: Sequence[str], reference: str) -> dict[str, str]:
    """Return each arm's difference at the larger budget and how far it moved from the smaller; empty at one budget."""
    texts: dict[str, str] = {}
    for short, long in pairwise(found):
        texts |= {"longer/steps": f"{steps_of(long):,}", "longer/seeds": str(len(long.arm(reference).by_seed))}
        for arm in arms:
            before, after = (runs.arm(arm).leads(runs.arm(reference)) for runs in (short, long))
            texts[f"{arm}/longer/gap"] = interval_text(interval(after.values()), NO_GAP)
            texts[f"{arm}/longer/change"] = interval_text(change(before, after), NO_GAP)
    return texts


def longer_cells(found: Sequence[Outcomes], arm: str, reference: str) -> dict[str, str]:
    """Return a results table's cell of an arm's difference at each larger budget, under its heading."""
    return {
        f"at {steps_of(runs):,} steps": interval_text(
            runs.arm(arm).gap(runs.arm(reference)) if arm != reference else None
        )
        for runs in found[1:]
    }
