"""Two arms, seed by seed: their difference, its interval, and what so many seeds could have seen."""

import math
from collections.abc import Mapping
from typing import Any

from regrad.playground.controls import Control
from regrad.playground.explore import View
from regrad.playground.narrowing import Narrowing, arm_in_words, narrowed
from regrad.playground.shelf import Shelf
from regrad.report.marks import BAND, DASHED, draw_interval
from regrad.report.outcomes import FRESH, interval
from regrad.report.palette import BLUE, GREY, ORANGE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.statistics.intervals import Interval
from regrad.statistics.power import detectable_effect, needed_n

ENDS = ("test_loss", "test_accuracy", "validation_loss")


def chosen(shelf: Shelf, values: Mapping[str, Any]) -> Narrowing:
    found = narrowed(shelf, values, wanted=[FRESH])
    arms = [arm for arm in found.outcomes.arms if len(found.outcomes.arm(arm).by_seed) > 1] or found.outcomes.arms
    first = found.by("arm", arms)
    found.by("against", [arm for arm in arms if arm != first] or arms)
    there = {name for record in found.outcomes for name in record.metrics}
    found.by("metric", [name for name in ENDS if name in there] or sorted(there))
    return found


def controls(shelf: Shelf, values: Mapping[str, Any]) -> Mapping[str, Control]:
    return chosen(shelf, values).choices


def draw(shelf: Shelf, *, arm: str, against: str, metric: str, **values: str) -> View:
    """Return both arms' ends by seed, the paired differences, and the band that hides what n seeds cannot see."""
    outcomes = chosen(shelf, values).outcomes
    mine, theirs = outcomes.arm(arm).ends(metric), outcomes.arm(against).ends(metric)
    shared = sorted(set(mine) & set(theirs))
    differences = [mine[seed] - theirs[seed] for seed in shared]
    gap = interval(differences)
    with canvas(ncols=2, width=PAGE_INCHES, height=2.8, width_ratios=(1.4, 1)) as (figure, (left, right)):
        for seed in shared:
            left.plot([seed, seed], [theirs[seed], mine[seed]], color=GREY, lw=0.7, zorder=1)
        left.plot(list(mine), list(mine.values()), "o", color=BLUE, label=arm_in_words(arm))
        left.plot(list(theirs), list(theirs.values()), "s", color=GREY, label=arm_in_words(against))
        better = "higher" if metric.endswith("accuracy") else "lower"
        left.set(xlabel="seed", ylabel=f"{metric.replace('_', ' ')}, {better} is better")
        left.xaxis.get_major_locator().set_params(integer=True)
        left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # above: below it would hide seeds
        right.axhline(0, **DASHED)
        if gap is not None:
            draw_gap(right, differences, gap)
        right.set(xticks=[], ylabel="first less second arm")
    return View(figure, sentence(gap, outcomes.arm(arm).diverged, outcomes.arm(against).diverged))


def seen(gap: Interval) -> float:
    """Return the difference that so many pairs of this spread show in four cases of five."""
    return detectable_effect(gap.n) * gap.deviation if gap.n > 1 else math.inf


def draw_gap(axis: Any, differences: list[float], gap: Interval) -> None:
    if math.isfinite(limit := seen(gap)):
        axis.axhspan(-limit, limit, color=BAND, lw=0, label=f"too small for {gap.n} seeds")
    axis.plot([0.0] * len(differences), differences, "o", color=BLUE, alpha=0.5, label="a seed")
    draw_interval(axis, 0.5, gap, {"marker": "D", "color": ORANGE})
    axis.plot([], [], "D", color=ORANGE, label="mean, 95 %")
    axis.set_xlim(-0.6, 1.1)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0, handletextpad=0.4)


def sentence(gap: Interval | None, mine: int, theirs: int) -> str:
    """Return the numbers behind the picture."""
    lost = f"diverged: {mine} and {theirs} runs, which are in no mean."
    if gap is None:
        return f"No seed at which both ended in a number; {lost}"
    text = f"Difference {gap.estimate:.4g}, 95 % interval [{gap.low:.4g}, {gap.high:.4g}], {gap.n} pairs; {lost}"
    if gap.n < 2 or gap.deviation == 0:
        return text
    needed = needed_n(gap.estimate / gap.deviation)
    more = f"{needed:,} pairs" if needed else "more than 100,000 pairs"
    return f"{text}\n{gap.n} pairs of this spread show differences of {seen(gap):.3g}; this one would need {more}."
