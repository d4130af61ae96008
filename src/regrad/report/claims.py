"""Verdicts: a claim of the ledger and plain rows in, a verdict with its reason out. Pure functions.

A row is one fresh-seed run as a plain mapping: ``arm``, ``seed``, ``value``, ``diverged``, and ``metric``
where a study has several. Rates read ``diverged`` only; spreads also ``batch_size`` and ``at``; proofs are
rows ``{proof, passed}``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regrad.report.claim_schema import PRESETS, Claim, arms_of
from regrad.report.kinds.outcome import (
    ALPHA,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    Outcome,
    number,
    weakest,
)
from regrad.report.kinds.registry import DECIDE
from regrad.report.kinds.rows import Rows, select
from regrad.results import suggestion
from regrad.statistics.intervals import holm


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
        p_holm: The deciding p after Holm's correction over the claims of one paper and study.
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


def evaluate(claim: Claim, rows: Rows, *, preset: str, device: str, label: str = "") -> Verdict:
    """Decide one claim; ``adjust`` then corrects the verdicts of a family together.

    Args:
        claim: Entry of the ledger.
        rows: Fresh-seed runs of its study; arms and metrics it does not name are passed over.
        preset: Preset that the rows come from.
        device: ``"cpu"`` or ``"cuda"``.
        label: Scale of the runs, ``"at N parameters, T tokens"``.

    Raises:
        ValueError: An unknown preset, or rows that contradict each other.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r}{suggestion(preset, list(PRESETS))}")
    outcomes = tuple(_decide(claim, test, rows, (preset, device)) for test in claim.test)
    found = weakest(outcomes)
    return Verdict(
        claim=claim,
        verdict=found.verdict,
        outcome=found,
        outcomes=outcomes,
        why=found.why,
        preset=preset,
        device=device,
        label=label,
        p_holm=found.p,
    )


def evaluate_all(
    claims: Iterable[Claim], rows: Mapping[str, Rows], *, preset: str, device: str, label: str = ""
) -> list[Verdict]:
    """Decide claims from the rows of their studies, with Holm's correction within each family.

    Args:
        claims: Entries of the ledger, kept in order.
        rows: Study to its rows; a study without rows leaves its claims not tested.
        preset: Preset that the rows come from.
        device: ``"cpu"`` or ``"cuda"``.
        label: Scale of the runs.
    """
    about = {"preset": preset, "device": device, "label": label}
    return adjust([evaluate(claim, rows.get(claim.study, ()), **about) for claim in claims])


def adjust(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts with p after Holm's correction over the tested claims of one paper and study.

    A verdict that rests on p and does not hold after the correction becomes inconclusive, whichever it was.
    """
    families: dict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    for v in verdicts:
        families[v.claim.paper, v.claim.study][v.claim.id] = v.outcome.p
    corrected = {family: holm(p_values) for family, p_values in families.items()}
    return [_correct(v, corrected[v.claim.paper, v.claim.study][v.claim.id]) for v in verdicts]


def _correct(verdict: Verdict, p_holm: float | None) -> Verdict:
    rests = verdict.outcome.by_p and verdict.verdict in (REPRODUCED, NOT_REPRODUCED)
    if not rests or p_holm is None or p_holm < ALPHA:
        return replace(verdict, p_holm=p_holm)
    why = f"{verdict.why}; after Holm's correction p = {number(p_holm)}, so it does not stand"
    return replace(verdict, verdict=INCONCLUSIVE, why=why, p_holm=p_holm)


def _decide(claim: Claim, test: Any, rows: Rows, where: tuple[str, str]) -> Outcome:
    test = _present_rungs(test, rows)
    reason = _untested(claim, test, rows, where)
    if reason is None:
        return DECIDE[test.kind](test, rows)
    return Outcome(NOT_TESTED, reason, metric=getattr(test, "metric", ""), unit=getattr(test, "unit", ""))


def _untested(claim: Claim, test: Any, rows: Rows, where: tuple[str, str]) -> str | None:
    """Return why this preset, device or set of runs cannot decide the test; None where it can."""
    preset, device = where
    if preset == "smoke":
        return "preset smoke shows that everything runs; it never yields a verdict"
    if preset not in claim.presets:
        return f"preset {preset} is below what the claim requires: {' or '.join(claim.presets)}"
    if claim.devices and device not in claim.devices:
        return f"device {device} is below what the claim requires: {' or '.join(claim.devices)}"
    return _too_few(test, rows, claim.presets[preset]) if arms_of(test) else None


def _present_rungs(test: Any, rows: Rows) -> Any:
    """Return the test without the rungs inside its ladder that this preset's study does not have."""
    ladder: tuple[str, ...] = getattr(test, "ladder", ())
    ran = {row["arm"] for row in select(rows, test.metric, ladder)} if ladder else set()
    kept = tuple(arm for arm in ladder if arm in {ladder[0], ladder[-1], *ran})
    return test.model_copy(update={"ladder": kept}) if ladder else test


def _too_few(test: Any, rows: Rows, least: int) -> str | None:
    if len(arms_of(test)) < 3 and hasattr(test, "ladder"):
        return f"no rung between {test.ladder[0]} and {test.ladder[-1]} has run"
    for metric in filter(None, (test.metric, getattr(test, "prediction", None))):
        seeds = {arm: {r["seed"] for r in select(rows, metric, [arm])} for arm in arms_of(test)}
        missing = [arm for arm, found in seeds.items() if not found]
        if missing:
            return f"no run with {metric} of {', '.join(missing)}"
        shared = set.intersection(*seeds.values())
        if len(shared) < least:
            return f"{len(shared)} seeds shared by all arms for {metric}; fixed beforehand: at least {least}"
    return None
