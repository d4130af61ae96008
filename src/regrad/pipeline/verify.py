"""Derive every stamp again from what lies on disk; trains nothing and needs no torch."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from regrad import blessing
from regrad.archive import Archive, opened
from regrad.pipeline.bless import published_runs, sentence
from regrad.pipeline.explain import standing
from regrad.pipeline.folders import Folders
from regrad.pipeline.targets import LEDGER
from regrad.pipeline.verdicts import gather
from regrad.published import standing_in
from regrad.report.benchmarks import complaint as benchmark_complaint
from regrad.report.stamps import carries, stamp_text, unstamped
from regrad.results import Record, run_set
from regrad.runner.ensure import Bench
from regrad.store import Store
from regrad.studies.catalogue import STUDIES


def set_of(row: dict[str, Any], folders: Folders) -> str:
    """Return which published set a file was made from; empty for runs of this checkout's own store."""
    own = Store(folders.root / "results" / "runs")
    if all(own.holds(name) for name in row["runs"]):
        return ""
    for folder in sorted((folders.root / "results" / "reference").glob("*/runs")):
        if any(opened(folder).holds(name) for name in row["runs"]):
            return folder.parent.name
    return ""


def lost(names: list[str], store: Store | Archive) -> str | None:
    """Return how many of a file's records are missing and how many damaged, None if all are there and whole."""
    counts = Counter(map(store.state, names))
    said = [f"{counts[kind]} are {kind}" for kind in ("missing", "damaged") if counts[kind]]
    return f"of its {len(names)} records {' and '.join(said)}" if said else None


def stamp_complaint(row: dict[str, Any], folders: Folders) -> str | None:
    """Return what is wrong with one exported file, None if its stamp follows from the records on disk."""
    path = folders.generated / row["name"]
    if not path.is_file():
        return "is gone"
    if hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        return "changed since its export"
    store = opened(store_of(set_of(row, folders), folders))
    if complaint := lost(row["runs"], store):
        return complaint
    if run_set(row["runs"]) != row["run_set"]:
        return f"its run set is not {row['run_set']}"
    if not row.get("stamp"):  # numbers and verdicts are not seen by a reader, and carry none
        return None
    records = [record for record in map(store.get, row["runs"]) if record is not None]
    derived = stamp_text(row["preset"], checked(records, store.root), commit=row["commit"])
    if records and row["stamp"] != derived and not row["source"]:
        return f"its stamp says {row['stamp']!r}, its records say {derived!r}"
    return None if carries(path, row["stamp"]) else "does not carry its stamp"


def store_of(name: str, folders: Folders) -> Path:
    """Return the folder of a published set's records, or of this checkout's own runs for an empty name."""
    return folders.root / "results" / "reference" / name / "runs" if name else folders.root / "results" / "runs"


def rows_of(folders: Folders) -> list[dict[str, Any]]:
    """Return the rows of all manifests."""
    parts = sorted((folders.generated / "manifest").glob("*.json"))
    return [row for part in parts for row in json.loads(part.read_text(encoding="utf-8"))]


def ledger_complaint(folders: Folders, preset: str, device: str) -> str | None:
    """Return what is wrong with the file of verdicts, None if it follows from the notebooks' exports."""
    if not folders.claims.is_file():
        return "results/claims.json: is gone"
    found = json.loads(folders.claims.read_text(encoding="utf-8"))["claims"]
    with standing_in(made_from(folders, rows_of(folders))):
        derived = json.loads(json.dumps(gather(folders, preset=preset, device=device)))
    return None if found == derived else "results/claims.json: is not what the notebooks' verdicts and the ledger give"


def stale(folders: Folders, rows: list[dict[str, Any]], device: str, jobs: int) -> list[str]:
    """Return, a line each, the notebooks whose outputs are on disk and are not what would be made now."""
    lines = []
    for study in STUDIES:
        own = [row for row in rows if row["notebook"] == study.notebook]
        sets = {set_of(row, folders) for row in own if row["runs"]} or {made_from(folders, rows)}
        for preset, name in sorted({(row["preset"], name) for row in own for name in sets}):
            with standing_in(name):
                bench = Bench(folders.runs, folders.cache, device, jobs)
                parameters = {"preset": preset, "device": device, "jobs": jobs}
                reason = standing(folders, study, parameters, bench).reason
            if reason is not None:
                lines.append(f"{study.notebook}: stale, {reason}")
    return lines


def made_from(folders: Folders, rows: list[dict[str, Any]]) -> str:
    """Return the published set that files were made from, which all notebooks share; empty for own runs."""
    return next((name for row in rows if row["runs"] and (name := set_of(row, folders))), "")


def verify(folders: Folders, *, device: str, jobs: int = 0) -> tuple[list[str], list[str]]:
    """Check everything that notebooks exported, and the blessings of the sets that it was made from.

    Returns:
        Complaints, a line each; and what to say where there are none.
    """
    rows = rows_of(folders)
    if not rows:
        return ["nothing was made here yet: run ./reproduce.sh"], []
    complaints, told = broken_chains(folders), [(row["name"], stamp_complaint(row, folders)) for row in rows]
    complaints += [f"{name}: {complaint}" for name, complaint in told if complaint]
    said = {line.split(":")[0] for line in complaints}
    complaints += [line for line in unstamped(folders.generated) if line.split(":")[0] not in said]
    complaints += [line for path in sorted(folders.benchmarks.glob("*.json")) if (line := benchmark_complaint(path))]
    complaints += stale(folders, rows, device, jobs)
    preset = next((row["preset"] for row in rows if row["notebook"] == LEDGER), rows[0]["preset"])
    if line := ledger_complaint(folders, preset, device):
        complaints.append(line)
    kinds = {kind: sum(row["name"].startswith(kind) for row in rows) for kind in ("figures", "tables")}
    runs = len({run for row in rows for run in row["runs"]})
    sentences = [f"{kinds['figures']} figures, {kinds['tables']} tables, {runs} runs: every stamp holds"]
    if (name := made_from(folders, rows)) and not complaints:
        chain = blessing.read(folders.root / "results" / "reference" / name)
        sentences.append(f"results/reference/{name}: {sentence(published_runs(folders, name), chain)}")
    return complaints, sentences


def broken_chains(folders: Folders) -> list[str]:
    """Return a line for each published set whose blessings are damaged or forged."""
    lines = []
    for folder in sorted((folders.root / "results" / "reference").glob("*/runs")):
        try:
            blessing.read(folder.parent)
        except blessing.BlessingError as error:
            lines.append(str(error))
    return lines


def checked(records: list[Record], runs: Path) -> list[Record]:
    """Return records as the runs' set says that they were repeated."""
    try:
        return blessing.with_checks(records, blessing.read(runs.parent))
    except blessing.BlessingError:  # said by itself
        return records
