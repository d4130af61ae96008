"""Divergence rates of two arms: Newcombe's interval of the difference, Fisher's exact test.

Every run counts once. Runs at neighbouring learning rates of one seed are not independent, so a rate should
be taken over grids of equal width, and its p-value read as optimistic.
"""

import math
from dataclasses import dataclass, replace
from itertools import product

from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_effectsize

from regrad.report.ledger.kinds.outcome import (
    ALPHA,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Outcome,
    figures,
    gather,
)
from regrad.report.ledger.kinds.rows import Rows, diverged_runs, select
from regrad.report.ledger.schema import Rate, arms_of


@dataclass(frozen=True)
class Count:
    """Diverged runs of an arm, of how many."""

    diverged: int
    runs: int

    @property
    def rate(self) -> float:
        """Share of runs that diverged."""
        return self.diverged / self.runs


def rate(test: Rate, rows: Rows) -> Outcome:
    """Compare divergence rates of every treatment with every control; the weakest comparison decides."""
    kept = select(rows, test.metric, arms_of(test))
    counts = {arm: count_diverged(kept, arm) for arm in arms_of(test)}
    outcomes = [_compare(test, counts, pair) for pair in product(test.treatment, test.control)]
    return replace(gather(outcomes, "the deciding comparison"), diverged=diverged_runs(kept, arms_of(test)))


def count_diverged(rows: Rows, arm: str) -> Count:
    """Return how many of an arm's runs diverged."""
    diverged = [bool(row["diverged"]) for row in rows if row["arm"] == arm]
    return Count(sum(diverged), len(diverged))


def difference_interval(treatment: Count, control: Count, level: float) -> tuple[float, float]:
    """Return Newcombe's interval of treatment's rate minus control's.

    Source: Newcombe 1998, method 10 (statsmodels ``confint_proportions_2indep``).
    """
    counts = (treatment.diverged, treatment.runs, control.diverged, control.runs)
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - level)
    return float(low), float(high)


def _compare(test: Rate, counts: dict[str, Count], pair: tuple[str, str]) -> Outcome:
    treatment, control = (counts[arm] for arm in pair)
    low, high = difference_interval(treatment, control, 0.95)
    outcome = Outcome(
        verdict=INCONCLUSIVE,
        why="",
        comparison=f"{pair[0]} minus {pair[1]}",
        metric=test.metric,
        unit=test.unit,
        estimate=treatment.rate - control.rate,
        low=low,
        high=high,
        n=min(treatment.runs, control.runs),
        p=fisher_p(treatment, control),
        detectable=detectable_rate(treatment, control),
        published=test.published,
    )
    # 90 %: two one-sided tests at 5 %, as a tie is decided for means.
    verdict, reason, by_p = _decide(test, outcome, difference_interval(treatment, control, 0.90))
    tally = f"diverged: {treatment.diverged} of {treatment.runs} against {control.diverged} of {control.runs}"
    return replace(
        outcome,
        verdict=verdict,
        by_p=by_p,
        why=f"{outcome.comparison}: {figures(outcome)} ({tally}): {reason}",
        needed_n=runs_needed(test, treatment, control) if verdict == INCONCLUSIVE else None,
    )


def fisher_p(treatment: Count, control: Count) -> float:
    """Return Fisher's exact two-sided p-value."""
    rows = [[count.diverged, count.runs - count.diverged] for count in (treatment, control)]
    return float(stats.fisher_exact(rows).pvalue)


def _decide(test: Rate, outcome: Outcome, inner: tuple[float, float]) -> tuple[str, str, bool]:
    sign = -1 if test.direction == "lower" else 1
    low, high = sorted((sign * (outcome.low or 0.0), sign * (outcome.high or 0.0)))
    seen = outcome.p is not None and outcome.p < ALPHA
    tie = -test.margin < inner[0] and inner[1] < test.margin
    if high < 0 and seen:
        return NOT_REPRODUCED, "the interval lies beyond 0 against the claimed direction", True
    if tie:
        return NOT_REPRODUCED, "a tie: equivalent within the margin fixed beforehand", False
    if low > 0 and seen:
        return REPRODUCED, "the interval lies beyond 0 in the claimed direction", True
    return INCONCLUSIVE, "the interval allows either direction and more than a tie", True


def detectable_rate(treatment: Count, control: Count) -> float | None:
    """Return the excess over the control's rate that these runs show with 80 % power; None if no rate is."""
    ratio = control.runs / treatment.runs
    effect = NormalIndPower().solve_power(None, nobs1=treatment.runs, alpha=ALPHA, power=0.8, ratio=ratio)
    # statsmodels' effect of proportions is a difference of angles, 2 asin √rate (Cohen's h); beyond π there is no rate.
    angle = 2 * math.asin(math.sqrt(control.rate)) + float(effect)
    return math.sin(angle / 2) ** 2 - control.rate if angle <= math.pi else None


def runs_needed(test: Rate, treatment: Count, control: Count) -> int | None:
    """Return the runs an arm for 80 % power to see the difference found, or the margin if larger."""
    sign = -1 if test.direction == "lower" else 1
    difference = max(sign * (treatment.rate - control.rate), test.margin)
    other = control.rate + sign * difference
    if not 0 <= other <= 1:  # no room on the claimed side: plan for the same difference on the other
        other = min(1.0, max(0.0, control.rate - sign * difference))
    effect = proportion_effectsize(other, control.rate)
    n = NormalIndPower().solve_power(abs(float(effect)), nobs1=None, alpha=ALPHA, power=0.8)
    return max(math.ceil(float(n)), min(treatment.runs, control.runs) + 1)
