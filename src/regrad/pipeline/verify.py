"""Derive every stamp again from what lies on disk; trains nothing and needs no torch."""

import hashlib
import json
from typing import Any

from regrad.pipeline.explain import standing
from regrad.pipeline.folders import Folders
from regrad.pipeline.verdicts import NOTEBOOK as LEDGER
from regrad.pipeline.verdicts import gather
from regrad.report.benchmarks import complaint as benchmark_complaint
from regrad.report.export import stamp_text
from regrad.report.stamps import carries, unstamped
from regrad.results import run_set
from regrad.runner.ensure import Bench
from regrad.store import Store
from regrad.studies.catalogue import STUDIES


def stamp_complaint(row: dict[str, Any], folders: Folders, store: Store) -> str | None:
    """Return what is wrong with one exported file, None if its stamp follows from the records on disk."""
    path = folders.generated / row["name"]
    if not path.is_file():
        return "is gone"
    if hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        return "changed since its export"
    records = [record for record in map(store.get, row["runs"]) if record is not None]
    if len(records) < len(row["runs"]):
        return f"{len(row['runs']) - len(records)} of its {len(row['runs'])} records are missing or damaged"
    if run_set(row["runs"]) != row["run_set"]:
        return f"its run set is not {row['run_set']}"
    if "stamp" not in row:  # numbers and verdicts are not seen by a reader, and carry none
        return None
    derived = stamp_text(row["preset"], records, commit=row["commit"])
    if records and row["stamp"] != derived and row["source"] == "":
        return f"its stamp says {row['stamp']!r}, its records say {derived!r}"
    return None if carries(path, row["stamp"]) else "does not carry its stamp"


def rows_of(folders: Folders) -> list[dict[str, Any]]:
    """Return the rows of all manifests."""
    parts = sorted((folders.generated / "manifest").glob("*.json"))
    return [row for part in parts for row in json.loads(part.read_text(encoding="utf-8"))]


def ledger_complaint(folders: Folders, preset: str, device: str) -> str | None:
    """Return what is wrong with the file of verdicts, None if it follows from the notebooks' exports."""
    if not folders.claims.is_file():
        return "results/claims.json: is gone"
    found = json.loads(folders.claims.read_text(encoding="utf-8"))["claims"]
    derived = json.loads(json.dumps(gather(folders, preset=preset, device=device)))
    return None if found == derived else "results/claims.json: is not what the notebooks' verdicts and the ledger give"


def stale(folders: Folders, rows: list[dict[str, Any]], device: str, jobs: int) -> list[str]:
    """Return, a line each, the notebooks whose outputs are on disk and are not what would be made now."""
    bench, lines = Bench(folders.runs, folders.cache, device, jobs), []
    for target in STUDIES:
        presets = {row["preset"] for row in rows if row["notebook"] == target.notebook}
        for preset in sorted(presets):
            parameters = {"preset": preset, "device": device, "jobs": jobs}
            reason = standing(folders, target, parameters, bench).reason
            if reason is not None:
                lines.append(f"{target.notebook}: stale, {reason}")
    return lines


def verify(folders: Folders, *, device: str, jobs: int = 0) -> tuple[list[str], str]:
    """Check everything that notebooks exported.

    Returns:
        Complaints, a line each, and a sentence for the case that there are none.
    """
    rows, store = rows_of(folders), Store(folders.runs)
    if not rows:
        return ["nothing was made here yet: run ./reproduce.sh"], ""
    found = [(row["name"], stamp_complaint(row, folders, store)) for row in rows]
    complaints = [f"{name}: {complaint}" for name, complaint in found if complaint]
    said = {line.split(":")[0] for line in complaints}
    complaints += [line for line in unstamped(folders.generated) if line.split(":")[0] not in said]
    complaints += [line for path in sorted(folders.benchmarks.glob("*.json")) if (line := benchmark_complaint(path))]
    complaints += stale(folders, rows, device, jobs)
    preset = next((row["preset"] for row in rows if row["notebook"] == LEDGER), rows[0]["preset"])
    if line := ledger_complaint(folders, preset, device):
        complaints.append(line)
    kinds = {kind: sum(row["name"].startswith(kind) for row in rows) for kind in ("figures", "tables")}
    runs = len({run for row in rows for run in row["runs"]})
    return complaints, f"{kinds['figures']} figures, {kinds['tables']} tables, {runs} runs: every stamp holds"
