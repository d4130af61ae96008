"""What the records of the study of SGG say beyond what every study's do: how large the scales S are."""

from collections.abc import Iterable
from statistics import fmean

from regrad.report.outcomes import Outcomes
from regrad.studies.sgg.arms import PRETRAINING, Comparison, SGGArm

PRETRAINED = tuple(comparison for sizes in PRETRAINING.values() for comparison in sizes)


def present(outcomes: Outcomes, comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Return the comparisons that the preset of these records runs."""
    return [comparison for comparison in comparisons if len(outcomes.arm(comparison.name))]


def sized_label(outcomes: Outcomes, comparison: Comparison, arm: SGGArm) -> str:
    """Return what figures and tables call an arm of pre-training: with the size of its model."""
    return f"{arm.label}, {outcomes.arm(comparison.name).parameters / 1000:,.0f}k"


def mean_scale(outcomes: Outcomes, arm: SGGArm) -> float | None:
    """Return the mean of S over the steps of an arm's fresh runs, None where none is recorded."""
    _, points = outcomes.fresh.arm(arm.name).mean_curve("scale/mean")
    # S is 1 up to the first recluster, and the last value, after the last step, holds for none.
    return fmean([1.0, *points[:-1]]) if points else None


def last_scale(outcomes: Outcomes, arm: SGGArm, which: str) -> float | None:
    """Return the ``"low"``, ``"mean"`` or ``"high"`` of S after the last recluster, None where none is recorded."""
    _, points = outcomes.fresh.arm(arm.name).mean_curve(f"scale/{which}")
    return points[-1] if points else None
