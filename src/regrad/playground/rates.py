"""The learning-rate dial: what tuning saw at every rate, and how training went at the one under the hand."""

from collections.abc import Mapping
from typing import Any

from regrad.playground.controls import Control, Dial
from regrad.playground.explore import View
from regrad.playground.narrowing import Narrowing, arm_in_words, narrowed
from regrad.playground.shelf import Shelf
from regrad.report.marks import COMPARED_WITH
from regrad.report.outcomes import TUNE, Outcomes
from regrad.report.palette import BLUE, ORANGE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.report.tuning import draw_tuning, rate
from regrad.results import Record


def chosen(shelf: Shelf, values: Mapping[str, Any]) -> tuple[Narrowing, Control]:
    found = narrowed(shelf, values, wanted=[TUNE])
    found.by_tag("arm")
    rates = sorted({record.spec.optimizer.lr for record in found.outcomes})
    best = next(iter(found.outcomes.choices().values())).best
    return found, Dial(tuple(f"{lr:g}" for lr in rates), f"{best:g}" if best else "")


def controls(shelf: Shelf, values: Mapping[str, Any]) -> Mapping[str, Control]:
    found, dial = chosen(shelf, values)
    return {**found.choices, "rate": dial}


def draw(shelf: Shelf, **values: str) -> View:
    """Return the tuning curve with a mark at the rate, and the training curves at it beside."""
    found, _ = chosen(shelf, values)
    outcomes, arm = found.outcomes, values["arm"]
    choice = outcomes.choices()[arm]
    here = [record for record in outcomes if f"{record.spec.optimizer.lr:g}" == values["rate"]]
    at = here[0].spec.optimizer.lr
    with canvas(ncols=2, width=PAGE_INCHES, height=2.8) as (figure, (left, right)):
        draw_tuning(left, outcomes, arm, {"color": BLUE, "marker": "o"}, dots=True)
        left.axvline(at, color=ORANGE, lw=1.5)
        grid = sorted(choice.means)
        left.set_xticks(grid, [f"{lr:.2g}" for lr in grid], minor=False, rotation=45 if len(grid) > 7 else 0)
        left.set_xticks([], minor=True)
        left.set(ylabel="final validation loss", title=f"{arm_in_words(arm)}: {choice.trials} trials")
        draw_curves(right, outcomes, choice.best, COMPARED_WITH, f"best, {rate(choice.best)}")
        draw_curves(right, outcomes, at, ORANGE, f"here, {rate(at)}")
        right.set(xlabel="optimizer steps", ylabel="validation loss", title="how it trained")
        right.legend()
    return View(figure, sentence(here, choice.means.get(at), choice.best, choice.edge))


def draw_curves(axis: Any, outcomes: Outcomes, lr: float | None, color: str, label: str) -> None:
    runs = [record for record in outcomes if record.spec.optimizer.lr == lr]
    for number, record in enumerate(runs):
        curve = record.curves["validation_loss"]
        axis.plot(curve.x, curve.y, color=color, lw=1.1, label=label if number == 0 else None)


def sentence(here: list[Record], mean: float | None, best: float | None, edge: str | None) -> str:
    diverged = sum(record.diverged for record in here)
    ends = f"{diverged} of {len(here)} runs diverged at this rate" if diverged else f"mean loss {mean:.4g} at this rate"
    at_edge = f"; the optimum lies on the {edge} edge of the grid" if edge else ""
    return f"{ends}; chosen: {rate(best)}{at_edge}."
