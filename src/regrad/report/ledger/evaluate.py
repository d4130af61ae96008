"""Verdicts: a claim of the ledger and plain rows in, a verdict with its reason out. Pure functions.

A row is one fresh-seed run as a plain mapping: ``arm``, ``seed``, ``value``, ``diverged``, and ``metric``
where a study has several. Rates read ``diverged`` only; spreads also ``batch_size`` and ``at``; proofs are
rows ``{proof, passed}``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from regrad.presets import PRESETS
from regrad.report.ledger.dispatch import run_test
from regrad.report.ledger.gates import Gate, gates
from regrad.report.ledger.kinds.outcome import (
    ALPHA,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Outcome,
    number,
    weakest,
)
from regrad.report.ledger.kinds.rows import Rows
from regrad.report.ledger.schema import Claim
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
    gates: tuple[Gate, ...] = ()


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
    outcomes = tuple(run_test(claim, test, rows, preset=preset, device=device) for test in claim.test)
    deciding = weakest(outcomes)
    return Verdict(
        claim=claim,
        verdict=deciding.verdict,
        outcome=deciding,
        outcomes=outcomes,
        why=deciding.why,
        preset=preset,
        device=device,
        label=label,
        p_holm=deciding.p,
        gates=gates(claim, rows, preset),
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
        # A claim without a p-value, such as one not tested, takes no part in its family's correction.
        families[v.claim.paper, v.claim.study][v.claim.id] = v.outcome.p
    corrected = {family: holm(p_values) for family, p_values in families.items()}
    return [_correct(v, corrected[v.claim.paper, v.claim.study][v.claim.id]) for v in verdicts]


def _correct(verdict: Verdict, p_holm: float | None) -> Verdict:
    # A tie, a reversal beyond the margin and a proof have tests of their own, and stand whatever the family holds.
    rests_on_p = verdict.outcome.by_p and verdict.verdict in (REPRODUCED, NOT_REPRODUCED)
    if not rests_on_p or p_holm is None or p_holm < ALPHA:
        return replace(verdict, p_holm=p_holm)
    why = f"{verdict.why}; after Holm's correction p = {number(p_holm)}, so it does not stand"
    return replace(verdict, verdict=INCONCLUSIVE, why=why, p_holm=p_holm)
