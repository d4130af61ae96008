"""What could have been seen: power of the paired t-test, in standard deviations of one difference."""

import math
from bisect import bisect_left
from functools import cache

from statsmodels.stats.power import TTestPower

# A study that needs more seeds than this has its answer: it will not be run.
MOST_SEEDS = 100_000


@cache
def detectable_effect(n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the mean difference, in its standard deviations, that n pairs show with this power.

    Args:
        n: Paired seeds; fewer than 2 show nothing (inf).
        power: Chance of seeing it, in (0, 1).
        alpha: Two-sided level, in (0, 1).

    Source: power of the noncentral t (statsmodels ``TTestPower``); 3, 5 and 10 pairs see 3.3, 1.7 and 1.0.
    """
    if n < 2:
        return math.inf
    return float(TTestPower().solve_power(effect_size=None, nobs=n, alpha=alpha, power=power))


@cache
def needed_n(effect: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Return the fewest pairs, at least 2, that show a mean difference of ``effect`` standard deviations.

    Args:
        effect: Mean over standard deviation of one difference; its sign does not matter.
        power: Chance of seeing it, in (0, 1).
        alpha: Two-sided level, in (0, 1).

    Returns:
        The number of pairs, or None where no affordable number is enough (more than ``MOST_SEEDS``).
    """
    # Searched through detectable_effect: solving for the sample size fails to converge at very large effects.
    sizes = range(2, MOST_SEEDS + 1)
    found = bisect_left(sizes, -abs(effect), key=lambda n: -detectable_effect(n, power, alpha))
    return sizes[found] if found < len(sizes) and not math.isnan(effect) else None
