"""What one test of a claim found: the words for it, and the finding."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
INCONCLUSIVE = "inconclusive"
NOT_TESTED = "not tested"
REFUTED = "refuted by construction"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, REFUTED, NOT_TESTED)  # in the order of all counts
NO_CASE = "diverged: nothing to compare"  # stands in the reason of rates of which both are zero

# What decides where all parts must hold: a refuted part refutes the whole, an untested one leaves it open.
SEVERITY = {REPRODUCED: 0, INCONCLUSIVE: 1, NOT_TESTED: 2, NOT_REPRODUCED: 3, REFUTED: 4}


@dataclass(frozen=True)
class Outcome:
    """The finding of one comparison or test.

    Attributes:
        verdict: One of ``VERDICTS``.
        why: The reason, a sentence with its numbers.
        comparison: What was compared, in words.
        arms: The arms that were compared, whose runs decide.
        metric: The metric.
        unit: Unit of estimate and interval.
        estimate: Treatment minus control (or ratio, trend, τ); None where no finite pair exists.
        low: Lower end of the 95 % interval; None where unbounded or absent.
        high: Upper end.
        n: Finite pairs (or runs an arm) behind the estimate.
        p: p-value that the verdict answers to, corrected for the claim's own comparisons; None where there is none.
        by_p: Whether p belongs to the family that Holm's correction goes over.
        comparisons: What p was multiplied by: the claim's comparisons where one of them was enough, else 1.
        detectable: Smallest true effect seen with 80 % power at this n, in ``unit``.
        needed_n: Pairs needed for 80 % power, for an inconclusive test.
        diverged: Diverged runs by arm.
        published: The paper's own figure.
        absent: Whether it is not tested for want of runs.
        ends: The interval at another level.
    """

    verdict: str
    why: str
    comparison: str = ""
    arms: tuple[str, ...] = ()
    metric: str = ""
    unit: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    by_p: bool = False
    comparisons: int = 1
    detectable: float | None = None
    needed_n: int | None = None
    diverged: tuple[tuple[str, int], ...] = ()
    published: float | None = None
    absent: bool = False
    ends: Callable[[float], tuple[float, float]] | None = field(default=None, compare=False, repr=False)

    @property
    def magnitude(self) -> str | None:
        """Whether a reproduced claim's interval holds the paper's figure, ``"matches"`` or ``"differs"``; else None."""
        if self.verdict != REPRODUCED or self.published is None or self.low is None or self.high is None:
            return None
        return "matches" if self.low <= self.published <= self.high else "differs"


def bounded(value: float) -> float | None:
    """Return the value, or None where it is not finite and strict JSON has no number for it."""
    return float(value) if math.isfinite(value) else None


def number(value: float | None) -> str:
    """Return three significant digits, in ASCII."""
    return "none" if value is None else f"{value:.3g}"


def alike(*values: float | None, by: Iterable[float | None] = ()) -> list[str]:
    """Return numbers that stand side by side with equal decimals, in ASCII: three significant digits of the largest.

    Args:
        values: The numbers.
        by: Those that say how many decimals, where not all do.
    """
    sizes = [abs(value) for value in tuple(by) or values if value and math.isfinite(value)]
    decimals = max(0, 2 - math.floor(math.log10(float(f"{max(sizes):.2e}")))) if sizes else 2
    texts = ["none" if value is None else f"{value:.{decimals}f}" for value in values]
    return [text.removeprefix("-") if not text.strip("-0.") else text for text in texts]


def figures(outcome: Outcome) -> str:
    """Return estimate, interval and n in words, for a sentence."""
    if outcome.estimate is None:
        return f"no pair in which both runs ended in a number, {outcome.unit or 'no unit'}"
    estimate, low, high = alike(outcome.estimate, outcome.low, outcome.high)
    interval = f" [{low}, {high}]" if outcome.low is not None else ""
    return f"{estimate}{interval} {outcome.unit}, n = {outcome.n}"
