"""Verdicts: a claim of the ledger and plain rows in, a verdict with its reason out. Pure functions.

A row is one fresh-seed run as a plain mapping: ``arm``, ``seed``, ``value``, ``diverged``, and ``metric``
where a study has several. Rates read ``diverged`` only; proofs are rows ``{proof, passed}``.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from regrad.claims.dispatch import run_test
from regrad.claims.gates import Gate, gates
from regrad.claims.kinds.finding import Level, conclude, deciding
from regrad.claims.kinds.outcome import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Outcome, alike, bounded, number
from regrad.claims.kinds.rows import Rows
from regrad.claims.schema import AnyTest, Claim, Paired, Ratio, Trend
from regrad.presets import PRESETS
from regrad.results import canonical, suggestion
from regrad.statistics.intervals import holm, holm_levels
from regrad.statistics.power import detectable_effect, needed_n
from regrad.statistics.sequential import ALPHA


@dataclass(frozen=True)
class At:
    """The look that a claim is judged at.

    Attributes:
        n: Seeds that it reads; None where there is one look, at all seeds.
        alpha: Its level.
        level: Thresholds of p at it.
    """

    n: int | None = None
    alpha: float = ALPHA
    level: Level = field(default_factory=Level)


@dataclass(frozen=True)
class Verdict:
    """A claim, decided.

    Attributes:
        claim: The ledger's entry.
        verdict: One of the five.
        outcome: The deciding test's finding; the claim's estimate, interval, n and p.
        outcomes: Every test's finding, in the ledger's order.
        why: The reason, with what Holm's correction changed.
        preset: Preset of the rows.
        device: Device of the rows.
        label: ``"at N parameters, T tokens"``, or empty.
        p_holm: The deciding p on the scale of 5 %, corrected for looks and the claim's own comparisons, and but for a
            shortfall by Holm over the claims of one paper and study.
        interval_holm: The interval at the level at which this claim was tested.
        comparisons: How many the claim has, of which one that falls short refutes it.
        at: The look it was judged at.
        gates: The bases that must be trained networks, with what they reach.
    """

    claim: Claim
    verdict: str
    outcome: Outcome
    outcomes: tuple[Outcome, ...]
    why: str
    preset: str
    device: str
    label: str = ""
    p_holm: float | None = None
    interval_holm: tuple[float | None, float | None] | None = None
    comparisons: int = 1
    at: At = field(default_factory=At)
    gates: tuple[Gate, ...] = ()

    @property
    def test(self) -> AnyTest:
        """The deciding test."""
        return self.claim.test[self.outcomes.index(self.outcome)]


def evaluate(claim: Claim, rows: Rows, *, preset: str, device: str, at: At | None = None) -> Verdict:
    """Decide one claim; ``adjust`` then corrects the verdicts of a family together.

    Args:
        claim: Entry of the ledger.
        rows: Fresh-seed runs of its study; arms and metrics it does not name are passed over.
        preset: Preset that the rows come from.
        device: ``"cpu"`` or ``"cuda"``.
        at: The look, whose seeds alone the rows hold; None where there is one.

    Raises:
        ValueError: An unknown preset, or rows that contradict each other.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r}{suggestion(preset, list(PRESETS))}")
    at = at or At()
    found = [run_test(claim, test, rows, preset=preset, device=device, most=at.n) for test in claim.test]
    comparisons = sum(len(one) for one in found if not isinstance(one, Outcome))
    outcomes = tuple(one if isinstance(one, Outcome) else conclude(one, at.level, comparisons) for one in found)
    outcome = deciding(outcomes)
    return Verdict(
        claim,
        outcome.verdict,
        outcome,
        outcomes,
        outcome.why,
        preset,
        device,
        comparisons=comparisons,
        at=at,
        gates=gates(claim, rows, preset),
    )


def evaluate_all(claims: Iterable[Claim], rows: Mapping[str, Rows], *, preset: str, device: str) -> list[Verdict]:
    """Decide claims from the rows of their studies, with Holm's correction within each family.

    Args:
        claims: Entries of the ledger, kept in order.
        rows: Study to its rows; a study without rows leaves its claims not tested.
        preset: Preset that the rows come from.
        device: ``"cpu"`` or ``"cuda"``.
    """
    return adjust([evaluate(claim, rows.get(claim.study, ()), preset=preset, device=device) for claim in claims])


def adjust(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts with p and interval after Holm's correction over the claims of one paper and study.

    A family holds a p for each claim whose verdict rests on one or could have: not those of proofs and claims that were
    not tested. A claim that falls short enters with p = 1, as one that nothing supports: left out, the others would be
    asked for less. Claims that rest on one and the same comparison enter once. A verdict that rests on p and does not
    hold after the correction becomes inconclusive, whichever it was; a shortfall stands.

    The interval beside it has the level 1 − α / (m − j + 1) of the claim's step j of m, and of the step that stopped
    the procedure for the claims after that: it lies beyond 0 exactly where the verdict stands (unless a second test of
    the kind, such as Page's, is what failed). It is no simultaneous interval for the claims that were rejected before
    it; Bonferroni's, all at 1 − α / m, would be, but would not agree with the verdicts. That of a shortfall has the
    level at which it was shown, and that of an open claim is no narrower: it holds a gain as large as the margin.
    """
    families: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for v in verdicts:
        if (p := repeated(v)) is not None:
            family = families[v.claim.paper, v.claim.study]
            family[comparison(v)] = min(p if v.outcome.by_p else 1.0, family.get(comparison(v), 1.0))
    return [_correct(v, families[v.claim.paper, v.claim.study] if v.outcome.by_p else {}) for v in verdicts]


def repeated(verdict: Verdict) -> float | None:
    """Return a verdict's p at 5 % whatever the look's level; None where there is none."""
    p = verdict.outcome.p
    return None if p is None else min(1.0, p * ALPHA / verdict.at.alpha)


def comparison(verdict: Verdict) -> str:
    """Return what names the comparison that a verdict rests on: its arms, and how they were compared."""
    how = verdict.test.model_dump(mode="json", exclude={"treatment", "control", "published"})
    return canonical([how, verdict.outcome.comparison])


def _correct(verdict: Verdict, family: Mapping[str, float]) -> Verdict:
    p, outcome = repeated(verdict), verdict.outcome
    if p is None:
        return verdict
    name = comparison(verdict)
    own = dict(family) | {name: p}  # of claims on one comparison each enters with its own p
    p_holm = holm(own)[name]
    error = holm_levels(own)[name] * verdict.at.alpha / ALPHA / outcome.comparisons
    falls = verdict.verdict == INCONCLUSIVE and not isinstance(verdict.test, Ratio)
    level = 1 - (min(error, verdict.at.alpha / verdict.comparisons) if falls else error)
    low, high = outcome.ends(level) if outcome.ends else (math.nan, math.nan)
    ends = (bounded(low), bounded(high)) if outcome.ends else None
    verdict = replace(verdict, p_holm=p_holm, interval_holm=ends)
    taken_back = verdict.verdict in (REPRODUCED, NOT_REPRODUCED) and p_holm is not None and p_holm >= ALPHA
    if taken_back:
        interval = f" and the interval [{', '.join(alike(*ends))}]" if ends else ""
        why = f"{verdict.why}; after Holm's correction p = {number(p_holm)}{interval}, so it does not stand"
    elif verdict.verdict == INCONCLUSIVE and beyond_margin(verdict):
        why = verdict.why
    else:  # a shortfall may decide the others, and is not corrected
        return verdict
    needed = replace(outcome, needed_n=needed_after(verdict, error))
    outcomes = tuple(needed if one is outcome else one for one in verdict.outcomes)
    return replace(verdict, verdict=INCONCLUSIVE, why=why, outcome=needed, outcomes=outcomes)


def beyond_margin(verdict: Verdict) -> bool:
    """Whether a gain was found that is beyond the margin, so that a corrected p has to decide."""
    found, test = verdict.outcome, verdict.test
    if not isinstance(test, Paired | Trend) or found.estimate is None:
        return False
    return (-found.estimate if test.direction == "lower" else found.estimate) > test.margin


def needed_after(verdict: Verdict, error: float) -> int | None:
    """Return the pairs for 80 % power to see what was found at the level that it has to meet; more than there are."""
    outcome = verdict.outcome
    if not (isinstance(verdict.test, Paired | Trend) and outcome.detectable and outcome.estimate):
        return outcome.needed_n
    deviation = outcome.detectable / detectable_effect(outcome.n)
    needed = needed_n(outcome.estimate / deviation, alpha=error)
    return None if needed is None else max(needed, outcome.n + 1, outcome.needed_n or 0)
