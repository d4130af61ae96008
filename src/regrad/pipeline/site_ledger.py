"""The ledger as the site shows it: what a claim's cells say, and how many claims got which verdict."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regrad.report.ledger.kinds.outcome import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_TESTED,
    REFUTED,
    REPRODUCED,
    VERDICTS,
    number,
)
from regrad.report.reasons import reason
from regrad.studies.catalogue import PAPERS

MEANINGS = {
    REPRODUCED: "The interval lies beyond zero on the claim's side, and is no tie; for a cost, inside its range.",
    NOT_REPRODUCED: "The interval lies on zero's other side, or inside the margin: an effect too small to matter.",
    INCONCLUSIVE: "The interval allows both; the reason says what the runs could have seen.",
    NOT_TESTED: "Its base is no trained network here, or this preset or machine is too small; the reason says which.",
    REFUTED: "A worked example, kept as a test, contradicts the claim; no run is needed.",
}


def slug(verdict: str) -> str:
    return verdict.replace(" ", "-")


def colours(verdicts: Mapping[str, str]) -> dict[str, str]:
    """Return the board's colours of the verdicts as variables of a style sheet."""
    return {f"verdict-{slug(verdict)}": colour for verdict, colour in verdicts.items()}


def figures(claim: Mapping[str, Any]) -> str:
    """Return estimate and interval with the digits of report and README; a dash where there is none."""
    if claim["estimate"] is None:
        return "–"
    low, high = claim.get("interval") or (None, None)
    if low is None and high is None:
        return number(claim["estimate"])
    between = f"[{'-∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"
    return f"{number(claim['estimate'])} {between}"


def p_text(value: float | None) -> str:
    """Return p after Holm's correction; a dash where nothing was tested."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def shown(
    claims: Sequence[Mapping[str, Any]], pages: Mapping[str, str], proof: Callable[[str], str]
) -> list[dict[str, Any]]:
    """Return the claims with what their cells say; ``proof`` says where a test that decides one is shown."""
    return [
        dict(claim)
        | {
            "slug": slug(claim["verdict"]),
            "figures": figures(claim),
            "reason": reason(claim),
            "seeds": "–" if claim["estimate"] is None else str(claim["n"]),
            "p_text": p_text(claim.get("p_holm")),
            "label": claim.get("label", "") if claim["verdict"] != NOT_TESTED else "",
            "page": pages.get(claim["id"], ""),
            "proof": proof(claim["test"]["proof"]) if claim["test"].get("proof") else "",
        }
        for claim in claims
    ]


def verdicts() -> list[dict[str, str]]:
    return [{"name": name, "slug": slug(name), "meaning": MEANINGS[name]} for name in VERDICTS]


def papers(claims: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    keys = list(dict.fromkeys(claim["paper"] for claim in claims))
    by_paper = {key: Counter(claim["verdict"] for claim in claims if claim["paper"] == key) for key in keys}
    return [
        {"id": key, "title": PAPERS[key].heading, "counts": [counts[verdict] for verdict in VERDICTS]}
        for key, counts in by_paper.items()
    ]
