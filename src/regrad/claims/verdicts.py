"""From a study's records to its verdicts: the last step of every notebook."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from regrad.claims.evaluate import Verdict
from regrad.claims.load import load
from regrad.claims.looks import LOOKS, ClaimRows, cut, judge_all, rows_read
from regrad.claims.plain import as_rows, estimate_text
from regrad.groups import arm_of
from regrad.results import Record, Spec
from regrad.statistics.sequential import Looks


def scale_label(records: Sequence[Record]) -> str:
    """Return how large the runs were, in words: parameters, tokens or examples, and steps."""
    sizes, steps = span({r.parameters for r in records}), span({r.spec.steps for r in records})
    units = {unit for unit, _ in map(seen, (r.spec for r in records))}
    amounts = {amount for _, amount in map(seen, (r.spec for r in records))}
    amount = f"{span(amounts)} {min(units)} in " if len(units) == 1 else ""  # tokens and examples do not compare
    return f"at {sizes} parameters, {amount}{steps} steps"


def seen(spec: Spec) -> tuple[str, int]:
    """Return what a run's data are counted in, and how much of it a run sees."""
    examples, length = spec.steps * spec.batch_size, spec.problem.options.get("sequence_length")
    return ("tokens", examples * int(str(length))) if length else ("examples", examples)


def span(values: set[int]) -> str:
    """Return one number, or the smallest and the largest."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def decide(
    ledger: Path,
    study: str,
    claim_rows: ClaimRows = lambda _: (),
    records: Sequence[Record] = (),
    *,
    preset: str,
    device: str = "",
    fixed: Iterable[Mapping[str, Any]] = (),
    looks: Looks | None = None,
) -> list[dict[str, Any]]:
    """Return the verdicts on a study's claims, as plain rows.

    Args:
        ledger: ``paper/claims.toml``.
        study: Name of the study, as in the ledger.
        claim_rows: From records to what the claims are decided from; a pure function, called once a look.
        records: All records of the study; none where rows come from a benchmark.
        preset: Preset of the records.
        device: Device of rows that come from a benchmark and not from records.
        fixed: Further rows, the same at every look: those of proofs and benchmarks.
        looks: When the claims are judged; None for the preset's own: once, on all records, where it has none.
    """
    claims = [claim for claim in load(ledger) if claim.study == study]
    devices = "+".join(sorted({r.fingerprint.device for r in records})) or device
    unchanged = list(fixed)

    def all_rows(some: Sequence[Record]) -> list[Mapping[str, Any]]:
        return [*claim_rows(some), *unchanged]

    verdicts = judge_all(claims, all_rows, records, looks or LOOKS.get(preset), preset=preset, device=devices)
    rows = {n: all_rows(cut(records, n)) for n in {v.at.n for v in verdicts}}
    behind = [sources(v, rows[v.at.n], records) for v in verdicts]
    labels = [scale_label([r for runs in arms.values() for r in runs]) if arms else "" for arms in behind]
    found = as_rows([replace(v, label=label) for v, label in zip(verdicts, labels, strict=True)])
    return [
        row | {"runs": named(arms), "parameters": sorted({r.parameters for runs in arms.values() for r in runs})}
        for row, arms in zip(found, behind, strict=True)
    ]


def sources(verdict: Verdict, rows: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the runs of the deciding comparison, by arm in the ledger's words; empty for what no run decided."""
    here = [r for r in cut(records, verdict.at.n) if r.spec.tags.get("phase") != "tune"]
    found: dict[str, list[Record]] = {}
    for arm in verdict.outcome.arms:
        read = [row for row in rows_read(verdict.test, rows) if row["arm"] == arm]
        wanted = {(run, tuple(row.get("tags", {}).items())) for row in read for run in row.get("runs", ())}
        if runs := [record for record in here if is_one_of(record, wanted)]:
            found[arm] = runs
    return found


def is_one_of(record: Record, wanted: Iterable[tuple[tuple[str, str], tuple[tuple[str, str], ...]]]) -> bool:
    """Whether a record has one of these parts and arms, and the further tags named with it."""
    tags = record.spec.tags
    return any(run == arm_of(record.spec) and set(further) <= tags.items() for run, further in wanted)


def named(arms: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, list[str]]]:
    """Return arm to seed to the names of its runs, so that anybody can look up what a verdict rests on."""
    return {
        arm: {
            str(seed): sorted(r.run_id for r in runs if r.spec.seed == seed)
            for seed in sorted({r.spec.seed for r in runs})
        }
        for arm, runs in arms.items()
    }


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
