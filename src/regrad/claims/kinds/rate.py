"""Divergence rates of two arms: Newcombe's interval of the difference, Fisher's exact test.

Every run counts once. Runs at neighbouring learning rates of one seed are not independent, so a rate should
be taken over grids of equal width, and its p-value read as optimistic.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_effectsize

from regrad.claims.kinds.finding import Finding, two_sided
from regrad.claims.kinds.outcome import INCONCLUSIVE, Outcome
from regrad.claims.kinds.rows import Rows, diverged_runs, select
from regrad.claims.schema import Rate, arms_of
from regrad.statistics.sequential import ALPHA


@dataclass(frozen=True)
class Count:
    """Diverged runs of an arm, of how many."""

    diverged: int
    runs: int

    @property
    def rate(self) -> float:
        """Share of runs that diverged."""
        return self.diverged / self.runs


def rate(test: Rate, rows: Rows) -> list[Finding]:
    """Compare divergence rates of every treatment with every control."""
    kept = select(rows, test.metric, arms_of(test))
    counts = {arm: count_diverged(kept, arm) for arm in arms_of(test)}
    diverged = diverged_runs(kept, arms_of(test))
    return [_compare(test, counts, pair, diverged) for pair in product(test.treatment, test.control)]


def count_diverged(rows: Rows, arm: str) -> Count:
    """Return how many of an arm's runs diverged."""
    diverged = [bool(row["diverged"]) for row in rows if row["arm"] == arm]
    return Count(sum(diverged), len(diverged))


@lru_cache(maxsize=4096)  # the two bisections below ask at the same levels, whatever the margin
def difference_interval(treatment: Count, control: Count, level: float) -> tuple[float, float]:
    """Return Newcombe's interval of treatment's rate minus control's.

    Source: Newcombe 1998, method 10 (statsmodels ``confint_proportions_2indep``).
    """
    counts = (treatment.diverged, treatment.runs, control.diverged, control.runs)
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - level)
    return float(low), float(high)


def crossing(beyond: Callable[[float], bool]) -> float:
    """Return the smallest error α at which the interval of level 1 − α satisfies ``beyond``, which it keeps; 1 if none.

    Turns an interval without a closed p-value into one.
    """
    low, high = 0.0, 1.0
    if not beyond(1e-9):  # the narrowest
        return 1.0
    for _ in range(40):  # to 1e-12
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(1 - middle) else (middle, high)
    return high


def _compare(
    test: Rate, counts: dict[str, Count], pair: tuple[str, str], diverged: tuple[tuple[str, int], ...]
) -> Finding:
    treatment, control = (counts[arm] for arm in pair)
    ends = partial(difference_interval, treatment, control)
    low, high = ends(0.95)
    sign = -1 if test.direction == "lower" else 1
    # Both must speak: Fisher's test is the exact one, Newcombe's interval is what a reader sees.
    p = max(fisher_p(treatment, control), crossing(lambda level: not ends(level)[0] <= 0 <= ends(level)[1]))
    # Half of it: two one-sided tests, as a tie is decided for means.
    ties = crossing(lambda level: -test.margin < ends(level)[0] and ends(level)[1] < test.margin) / 2
    outcome = Outcome(
        verdict=INCONCLUSIVE,
        why="",
        comparison=f"{pair[0]} minus {pair[1]}",
        arms=pair,
        metric=test.metric,
        unit=test.unit,
        estimate=treatment.rate - control.rate,
        low=low,
        high=high,
        n=min(treatment.runs, control.runs),
        detectable=detectable_rate(treatment, control),
        needed_n=runs_needed(test, treatment, control) if min(p, ties) >= ALPHA else None,
        diverged=diverged,
        published=test.published,
        ends=ends,
    )
    tally = f" (diverged: {treatment.diverged} of {treatment.runs} against {control.diverged} of {control.runs})"
    return Finding(outcome, *two_sided(p, sign * (treatment.rate - control.rate)), ties, note=tally)


def fisher_p(treatment: Count, control: Count) -> float:
    """Return Fisher's exact two-sided p-value."""
    rows = [[count.diverged, count.runs - count.diverged] for count in (treatment, control)]
    return float(stats.fisher_exact(rows).pvalue)


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
    if not math.isfinite(n):  # an effect so large that the solver leaves its range: these runs are enough
        return None
    return max(math.ceil(float(n)), min(treatment.runs, control.runs) + 1)
