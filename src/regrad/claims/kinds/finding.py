"""Findings and how they combine: one comparison's p-values, and the verdict on all comparisons of a claim.

All k comparisons of a claim must hold (every treatment against every control, in every test):

* *Not reproduced* by a shortfall: of some comparison a gain as large as the margin is ruled out, k · p < α, be it by a
  tie, a loss or something between. One of k is enough, so p is multiplied by k.
* *Not reproduced*: some comparison speaks against the claim in another way (a step of a ladder, an order, the ends of a
  range), k · p < α.
* *Reproduced*: every comparison supports the claim, p < α, and none falls short. The largest p decides; that all must
  hold needs no correction (intersection–union).
* Otherwise *inconclusive*.

Support and opposition are the two sides of one two-sided test, so the claim's p, the smaller of both, errs as rarely
as each: that p goes into the family's correction, whichever way the claim ends. A shortfall is another question, asked
once at α, and stands whatever the family holds; the family keeps the claim, as one that nothing supports.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from regrad.claims.kinds.outcome import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    SEVERITY,
    Outcome,
    figures,
    number,
)
from regrad.statistics.sequential import ALPHA

AGAINST = "the interval lies beyond 0 against the claimed direction"
REASONS = {
    "for": "the interval lies beyond 0 in the claimed direction",
    "against": AGAINST,
    "short": "a gain as large as the margin is ruled out",
    "tie": "a tie: equivalent within the margin fixed beforehand",
    "loss": AGAINST,
    "small": "a gain is shown, but perhaps none as large as the margin",
    "open": "neither 0 nor a gain as large as the margin is ruled out",
}
FALLS = ("short", "tie", "loss")


@dataclass(frozen=True)
class Level:
    """Thresholds of p: of a difference, either way, and of a shortfall."""

    difference: float = ALPHA
    shortfall: float = ALPHA


@dataclass(frozen=True)
class Finding:
    """One comparison before its verdict.

    Attributes:
        outcome: Its figures; verdict, p and reason are still open.
        supports: Two-sided p of a difference in the claimed direction; 1 where it points elsewhere.
        opposes: The same for the other direction.
        short: p of a gain below the margin; 1 where it is not asked.
        falls: What a shortfall is at a level of confidence: "short", "tie" or "loss".
        note: What the reason says besides the figures.
        exact: Whether nothing was estimated: both p are 0 or 1 and take part in no correction.
        reasons: Words for what decides, or does not.
    """

    outcome: Outcome
    supports: float = 1.0
    opposes: float = 1.0
    short: float = 1.0
    falls: Callable[[float], str] = lambda _: "short"
    note: str = ""
    exact: bool = False
    reasons: dict[str, str] = field(default_factory=lambda: REASONS)


def two_sided(p: float, estimate: float) -> tuple[float, float]:
    """Return what a two-sided p-value supports and opposes: the estimate's sign says which one it speaks for."""
    return (p if estimate > 0 else 1.0), (p if estimate < 0 else 1.0)


def conclude(findings: Sequence[Finding], level: Level, comparisons: int) -> Outcome:
    """Return the verdict on a test's comparisons, with the figures of the one that decides.

    Args:
        findings: The test's comparisons, at least one.
        level: Thresholds.
        comparisons: How many the whole claim has: what one refuting comparison is corrected for.
    """
    opposing, least = min(findings, key=lambda f: f.opposes), min(findings, key=lambda f: f.short)
    weakest = max(findings, key=lambda f: (f.supports, -f.short))  # of those that nothing supports the least supported
    against = min(1.0, comparisons * opposing.opposes)
    if (p := comparisons * least.short) < level.shortfall:
        falls = least.falls(1 - level.shortfall / comparisons)
        return replace(_outcome(least, NOT_REPRODUCED, falls, p, comparisons), by_p=False)
    if against < level.difference:
        return _outcome(opposing, NOT_REPRODUCED, "against", against, comparisons)
    if weakest.supports < level.difference and least.short >= level.shortfall:
        return _outcome(weakest, REPRODUCED, "for", weakest.supports)
    if weakest.supports <= against:
        small = "small" if weakest.supports < level.difference else "open"
        return _outcome(weakest, INCONCLUSIVE, small, weakest.supports)
    return _outcome(opposing, INCONCLUSIVE, "open", against, comparisons)


def _outcome(finding: Finding, verdict: str, side: str, p: float, comparisons: int = 1) -> Outcome:
    outcome, counted = finding.outcome, "" if comparisons == 1 else f" times {comparisons} comparisons"
    of = " (of a gain of the margin)" if side in FALLS else ""
    said = "" if finding.exact else f", p = {number(p / comparisons)}{counted}{of}"
    return replace(
        outcome,
        verdict=verdict,
        why=f"{outcome.comparison}: {figures(outcome)}{finding.note}{said}: {finding.reasons[side]}",
        p=None if finding.exact else p,
        by_p=not finding.exact,
        comparisons=comparisons,
        needed_n=outcome.needed_n if verdict == INCONCLUSIVE else None,
    )


def deciding(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome that decides where all tests of a claim must hold.

    A refutation decides first (a shortfall before another, since no correction can undo it; then the smaller p), then a
    test that was not tested, then an inconclusive one: that with the largest p, since all must hold, or that which
    speaks against the claim most clearly, whichever p is smaller.
    """
    worst = max(SEVERITY[outcome.verdict] for outcome in outcomes)
    found = [outcome for outcome in outcomes if SEVERITY[outcome.verdict] == worst]

    def p(outcome: Outcome) -> float:
        return 1.0 if outcome.p is None else outcome.p  # without a p-value: no support at all

    if found[0].verdict == NOT_REPRODUCED:
        return min(found, key=lambda o: (o.by_p, 0.0 if o.p is None else o.p))
    return max(found, key=p)
