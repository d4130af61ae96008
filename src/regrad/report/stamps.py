"""The line under every figure and table: what it was made from, and whether a file carries it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_pdf import pdfRepr

from regrad.provenance import commit as current_commit
from regrad.report.manifest import read_manifests
from regrad.results import Record, run_set


def devices(records: Sequence[Record]) -> str:
    """Return the devices of records, ``"cpu+cuda"`` for both; empty without records."""
    return "+".join(sorted({record.fingerprint.device for record in records}))


def stamp_text(preset: str, records: Sequence[Record], *, commit: str = "") -> str:
    """Return the line that says what a figure was made from; ``commit`` is that of the code, this one's if empty."""
    ids = [record.run_id for record in records]  # a run that two parts share is one run
    seeds = len({record.spec.seed for record in records})
    runs = f"{len(set(ids))} runs, {seeds} seeds · run set {run_set(ids)}{checks(records)}"
    return f"preset {preset} · {devices(records) or 'no device'} · {runs} · commit {commit or current_commit()}"


def checks(records: Sequence[Record]) -> str:
    """Return how many of the runs were repeated whole and begun under later code, and when; nothing if none was."""
    repeated = {record.run_id: record.repeated.split() for record in records if record.repeated}
    if not repeated:
        return ""
    whole = sum(how == "whole" for how, _ in repeated.values())
    return f" · {whole} repeated, {len(repeated) - whole} begun {max(day for _, day in repeated.values())}"


def source_stamp(source: str) -> str:
    return f"{source} · commit {current_commit()}"


def stamped(path: Path) -> bool:
    """Return whether a figure (PDF) or a table (LaTeX) carries a stamp."""
    data = path.read_bytes()
    return b"/Subject" in data if path.suffix == ".pdf" else rb"\stamp{" in data and data.startswith(b"% ")


def carries(path: Path, text: str) -> bool:
    data = path.read_bytes()
    # A PDF escapes its texts in a way of its own: compared as matplotlib writes it.
    return pdfRepr(text) in data if path.suffix == ".pdf" else data.startswith(f"% {text}\n".encode())


def unstamped(generated: Path) -> list[str]:
    """Return, a line each, the figures and tables that lack a stamp or are not what an exporter wrote."""
    digests = {row.name: row.sha256 for row in read_manifests(generated)}
    lines = []
    for path in sorted([*generated.glob("figures/*"), *generated.glob("tables/*")]):
        name = path.relative_to(generated).as_posix()
        # In this order: what no manifest knows has no digest, and what changed may thereby have lost its stamp.
        if name not in digests:
            lines.append(f"{name}: in no notebook's manifest")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digests[name]:
            lines.append(f"{name}: changed since its export")
        elif not stamped(path):
            lines.append(f"{name}: no stamp")
    return lines
