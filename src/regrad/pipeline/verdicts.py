"""Gather the verdicts of all notebooks: ``results/claims.json``, the report's ledger and the words it cites."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from regrad import blessing
from regrad.archive import opened
from regrad.atomic import write_atomically
from regrad.blessing import Chain
from regrad.claims.evaluate import evaluate_all
from regrad.claims.kinds.outcome import NOT_TESTED
from regrad.claims.load import load, load_ledger
from regrad.claims.plain import as_rows
from regrad.pipeline.bless import Published, sentence
from regrad.pipeline.folders import Folders
from regrad.pipeline.partial import unpublished
from regrad.pipeline.targets import LEDGER
from regrad.published import SET as PUBLISHED
from regrad.report.audit import audit_table
from regrad.report.board import fig_board
from regrad.report.costs import COLUMNS, Cost, compute_table
from regrad.report.costs import numbers as cost_numbers
from regrad.report.export import Exporter
from regrad.report.findings import numbers as findings
from regrad.report.gradient_map import fig_gradient_map
from regrad.report.latex import escape_tex
from regrad.report.ledger import to_latex
from regrad.report.manifest import read_manifests
from regrad.report.reasons import waiting as lacks
from regrad.report.synthesis import deviation_table, power_table
from regrad.report.synthesis import numbers as ledger_numbers
from regrad.report.tables import to_latex as plain_table
from regrad.results import Record
from regrad.runner.dependencies import fingerprint
from regrad.studies.catalogue import PAPERS

COST = "cost.json"  # the published set's file of times


def exported(generated: Path) -> dict[str, dict[str, Any]]:
    """Return the verdicts that notebooks exported, by claim."""
    files = sorted((generated / "claims").glob("*.json"))
    return {claim["id"]: claim for file in files for claim in json.loads(file.read_text())}


def gather(folders: Folders, *, preset: str, device: str) -> list[dict[str, Any]]:
    """Return a verdict for every claim, in the ledger's order; without an export at this preset it is not tested."""
    claims = load(folders.paper / "claims.toml")
    unrun = {row["id"]: row for row in as_rows(evaluate_all(claims, {}, preset=preset, device=device))}
    # An export of another preset lies there until its notebook runs again: it must not pass for this one's.
    here = {name: row for name, row in exported(folders.generated).items() if row["preset"] == preset}
    waiting = unpublished(folders, preset, device)
    found = [here.get(claim.id) or unrun[claim.id] for claim in claims]
    return [said_to_wait(row, unrun[row["id"]], waiting.get(row["study"], "")) for row in found]


def said_to_wait(row: dict[str, Any], unrun: dict[str, Any], lacking: str) -> dict[str, Any]:
    """Return a verdict from a study that lacks runs: not tested, with that reason, where it is those that it reads."""
    # A ladder is judged on the rungs that there are: half of it is another claim.
    if lacking and not set(row["test"].get("ladder", ())) <= set(row["arms"]):
        row = unrun
    return row | {"why": lacking, "waits": lacking} if lacking and row["absent"] else row


def runs_of(folders: Folders, preset: str) -> dict[str, set[str]]:
    """Return the runs behind each notebook's exports of a preset, as the manifests name them."""
    runs: dict[str, set[str]] = defaultdict(set)
    for row in read_manifests(folders.generated):
        if row.preset == preset and row.notebook != LEDGER:
            runs[row.notebook].update(row.runs)
    return runs


def records_of(folders: Folders, preset: str) -> list[Record]:
    """Return the records behind all exports of a preset, as the manifests name them."""
    ids = set().union(*runs_of(folders, preset).values())
    store = opened(folders.runs)
    records = (record for record in map(store.get, sorted(ids)) if record is not None)
    return blessing.with_checks(records, blessing.read(folders.runs.parent))


def published_cost(folders: Folders) -> dict[str, Any] | None:
    """Return the table and numbers of what the published runs took, or nothing where they are not.

    The report prints these and not the seconds of its own runs: seconds never repeat, its bytes must. What was
    published from a GPU stands below, each line with the set's name.
    """
    reference = folders.root / "results" / "reference"
    if not (path := reference / PUBLISHED / COST).is_file():
        return None
    spent: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for other in sorted(reference.glob(f"*-cuda/{COST}")):
        lines = json.loads(other.read_text(encoding="utf-8"))["table"]
        spent["table"] += [line | {"study": f"{other.parent.name}: {line['study']}"} for line in lines]
    return spent


def cost_of_runs(spent: dict[str, list[Cost]]) -> dict[str, Any]:
    """Return the table and numbers of what runs took, by their study's label, for publication."""
    return {"table": compute_table(spent).to_dict("records"), "numbers": cost_numbers(spent)}


def words(rows: list[dict[str, Any]], *, runs: str = "no") -> dict[str, str]:
    """Return what the prose cites: six sentences, each study's list of verdicts, counts, what untested claims lack."""
    waits = {f"waits/{row['id']}": escape_tex(lacks(row)) for row in rows if row["verdict"] == NOT_TESTED}
    return findings(rows, runs=runs) | ledger_numbers(rows, PAPERS) | waits


def made_by(folders: Folders, records: list[Record], device: str) -> str:
    """Return how the runs behind the report stand to today's code: the reproducibility statement's sentence."""
    chains = blessing.chains(folders.runs)
    links = [link for chain in chains for link in chain.links]
    runs = [Published(record, fingerprint(record.spec, device)) for record in records]
    return f"The runs behind this copy: {sentence(runs, Chain(links))}."


def write(folders: Folders, *, preset: str, device: str) -> list[dict[str, Any]]:
    """Write the claims file and the report's share of it; return the verdicts."""
    rows = gather(folders, preset=preset, device=device)
    body = json.dumps({"claims": rows}, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(folders.claims, (body + "\n").encode())
    records = records_of(folders, preset)
    exporter = Exporter(folders.generated, notebook=LEDGER, preset=preset, records=records)
    spent = published_cost(folders)
    exporter.figure("fig-board", fig_board, rows, PAPERS)
    exporter.figure("fig-gradient-map", fig_gradient_map, records=[], source="drawn from the equations")
    exporter.table("tab-claims", to_latex(rows))
    exporter.table("tab-power", power_table(rows))
    exporter.table("tab-deviations", deviation_table(rows))
    exporter.table("tab-formal-audit", audit_table(load_ledger(folders.paper / "claims.toml").audits))
    if spent:
        source = f"times of results/reference/{PUBLISHED}"
        exporter.table("tab-compute", plain_table(pd.DataFrame(spent["table"], columns=COLUMNS)), source=source)
    checks = {"checks/runs": escape_tex(made_by(folders, records, device))}
    exporter.numbers(words(rows, runs=f"{len(records):,}") | checks | (spent["numbers"] if spent else {}))
    exporter.finish()
    return rows
