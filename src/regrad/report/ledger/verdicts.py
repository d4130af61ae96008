"""From a study's records to its verdicts: the last step of every notebook."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regrad.report.ledger.evaluate import evaluate_all
from regrad.report.ledger.load import load
from regrad.report.ledger.tables import as_rows, estimate_text
from regrad.results import Record


def scale_label(records: Sequence[Record]) -> str:
    """Return how large the runs were, in words: parameters, and tokens or examples."""
    spec = records[0].spec  # of the first part in the plan, which is what most claims are about
    examples = spec.steps * spec.batch_size
    length = spec.problem.options.get("sequence_length")
    seen = f"{examples * int(str(length)):,} tokens" if length else f"{examples:,} examples"
    return f"at {records[0].parameters:,} parameters, {seen}"


def decide(
    ledger: Path,
    study: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    preset: str,
    records: Sequence[Record] = (),
    device: str = "",
) -> list[dict[str, Any]]:
    """Return the verdicts on a study's claims, as plain rows.

    Args:
        ledger: ``paper/claims.toml``.
        study: Name of the study, as in the ledger.
        rows: What the claims are decided from.
        preset: Preset of the records.
        records: All records of the study; they name device and scale.
        device: Device of rows that come from a benchmark and not from records.
    """
    claims = [claim for claim in load(ledger) if claim.study == study]
    devices = "+".join(sorted({r.fingerprint.device for r in records})) or device
    about = {"preset": preset, "device": devices, "label": scale_label(records) if records else ""}
    return as_rows(evaluate_all(claims, {study: list(rows)}, **about))


def summary(verdicts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a line a verdict, for the notebook."""
    return pd.DataFrame(
        {
            "claim": v["id"],
            "verdict": v["verdict"],
            "estimate": estimate_text(v),
            "n": v["n"],
            "why": v["why"],
        }
        for v in verdicts
    )
