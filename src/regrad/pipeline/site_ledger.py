"""The ledger as the site shows it: what a claim's cells say, and how many claims got which verdict."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regrad.claims.kinds.outcome import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_TESTED,
    REFUTED,
    REPRODUCED,
    VERDICTS,
)
from regrad.report.board import about
from regrad.report.reasons import amount, capital, counted, reason
from regrad.studies.catalogue import PAPERS

MEANINGS = {
    REPRODUCED: "The interval lies beyond zero on the claim's side, and is no tie; for a cost, inside its range.",
    NOT_REPRODUCED: "A gain that would matter is ruled out: there is a loss, or an effect inside the margin.",
    INCONCLUSIVE: "The interval holds no gain and one that matters; the reason says what the runs could have seen.",
    NOT_TESTED: "Its base is no trained network here, or this preset or machine is too small; the reason says which.",
    REFUTED: "A worked example, kept as a test, contradicts the claim; no run is needed.",
}


def slug(verdict: str) -> str:
    return verdict.replace(" ", "-")


def colours(verdicts: Mapping[str, str]) -> dict[str, str]:
    """Return the board's colours of the verdicts as variables of a style sheet."""
    return {f"verdict-{slug(verdict)}": colour for verdict, colour in verdicts.items()}


def p_text(value: float | None) -> str:
    """Return the corrected p; nothing where nothing was tested."""
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def shown(
    claims: Sequence[Mapping[str, Any]], pages: Mapping[str, str], proof: Callable[[str], str]
) -> list[dict[str, Any]]:
    """Return the claims with what their cells say; ``proof`` says where a test that decides one is shown."""
    return [
        dict(claim)
        | {
            "of": about(PAPERS, claim["paper"])[0],
            "slug": slug(claim["verdict"]),
            "figures": amount(claim),
            "reason": reason(claim),
            "rests": counted(claim) if claim.get("n") else "",
            "p_text": p_text(claim.get("p_holm")),
            "label": capital(claim.get("label", "")) if claim["verdict"] != NOT_TESTED else "",
            "page": pages.get(claim["id"], ""),
            "proof": proof(claim["test"]["proof"]) if claim["test"].get("proof") else "",
        }
        for claim in claims
    ]


def verdicts() -> list[dict[str, str]]:
    return [{"name": name, "slug": slug(name), "meaning": MEANINGS[name]} for name in VERDICTS]


def papers(claims: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the papers with how many of their claims got which verdict; a key stands for one that no study bears."""
    counts = {claim["paper"]: Counter[str]() for claim in claims}
    for claim in claims:
        counts[claim["paper"]][claim["verdict"]] += 1
    headings = {key: PAPERS[key].heading if key in PAPERS else key for key in counts}
    return [
        {"id": key, "title": title, "parts": title.split(": ", 1), "counts": [counts[key][v] for v in VERDICTS]}
        for key, title in headings.items()
    ]
