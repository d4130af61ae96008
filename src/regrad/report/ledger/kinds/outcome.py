"""What one test of a claim found, and how findings combine."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
INCONCLUSIVE = "inconclusive"
NOT_TESTED = "not tested"
REFUTED = "refuted by construction"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, REFUTED, NOT_TESTED)  # in the order of all counts

# What decides where all parts must hold: a refuted part refutes the whole, an untested one leaves it open.
SEVERITY = {REPRODUCED: 0, INCONCLUSIVE: 1, NOT_TESTED: 2, NOT_REPRODUCED: 3, REFUTED: 4}

ALPHA = 0.05


@dataclass(frozen=True)
class Outcome:
    """The finding of one comparison or test.

    Attributes:
        verdict: One of ``VERDICTS``.
        why: The reason, a sentence with its numbers.
        comparison: What was compared, in words.
        metric: The metric.
        unit: Unit of estimate and interval.
        estimate: Treatment minus control (or ratio, trend, τ); None where no finite pair exists.
        low: Lower end of the 95 % interval; None where unbounded or absent.
        high: Upper end.
        n: Finite pairs (or runs an arm) behind the estimate.
        p: Two-sided p-value of the test that the verdict answers to; None where there is none.
        by_p: Whether the verdict rests on p, and so must hold after Holm's correction.
        detectable: Smallest true effect seen with 80 % power at this n, in ``unit``.
        needed_n: Pairs needed for 80 % power, for an inconclusive test.
        diverged: Diverged runs by arm.
        published: The paper's own figure.
    """

    verdict: str
    why: str
    comparison: str = ""
    metric: str = ""
    unit: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    by_p: bool = False
    detectable: float | None = None
    needed_n: int | None = None
    diverged: tuple[tuple[str, int], ...] = ()
    published: float | None = None

    @property
    def magnitude(self) -> str | None:
        """Whether the paper's own figure lies in the interval: ``"matches"``, ``"differs"`` or None."""
        if self.published is None or self.low is None or self.high is None:
            return None
        return "matches" if self.low <= self.published <= self.high else "differs"


def weakest(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the finding that decides where all must hold (intersection–union).

    A refuted part decides first, then an untested, then an inconclusive one. Among equals the largest p is
    the weakest support; among refutations the smallest p is the strongest one.
    """

    def rank(outcome: Outcome) -> tuple[int, float]:
        p = 1.0 if outcome.p is None else outcome.p  # without a p-value: no support at all
        return SEVERITY[outcome.verdict], -p if outcome.verdict == NOT_REPRODUCED else p

    return max(outcomes, key=rank)


def gather(outcomes: list[Outcome], words: str) -> Outcome:
    """Return the weakest of several comparisons, saying so if there are several."""
    deciding = weakest(outcomes)
    return replace(deciding, why=f"{deciding.why} ({words} of {len(outcomes)})") if len(outcomes) > 1 else deciding


def bounded(value: float) -> float | None:
    """Return the value, or None where it is not finite and strict JSON has no number for it."""
    return float(value) if math.isfinite(value) else None


def number(value: float | None) -> str:
    """Return three significant digits, in ASCII."""
    return "none" if value is None else f"{value:.3g}"


def figures(outcome: Outcome) -> str:
    """Return estimate, interval and n in words, for a sentence."""
    if outcome.estimate is None:
        return f"no pair in which both runs ended in a number, {outcome.unit or 'no unit'}"
    interval = f" [{number(outcome.low)}, {number(outcome.high)}]" if outcome.low is not None else ""
    return f"{number(outcome.estimate)}{interval} {outcome.unit}, n = {outcome.n}"
