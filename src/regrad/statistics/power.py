"""What could have been seen: power of the paired t-test, in standard deviations of one difference."""

import math
from bisect import bisect_left
from functools import cache

from scipy import optimize, special
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
    quantiles = special.stdtrit(n - 1, 1 - alpha / 2) + special.stdtrit(n - 1, power)
    top = 1.5 * float(quantiles) / math.sqrt(n)

    def excess(effect: float) -> float:
        reached = TTestPower().power(effect, n, alpha)
        # Far above the root the other tail underflows to NaN: the power is 1 there.
        return 1 - power if math.isnan(reached) else float(reached) - power

    while excess(top) < 0:  # the sum of two quantiles is short at two or three pairs and a small level
        top *= 2
    # Bracketed, because statsmodels' own solver returns the negative root at some n (73, 87, 92).
    return float(optimize.brentq(excess, 0, top))


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
