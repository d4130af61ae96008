"""Publish: copy the records behind the report to ``results/reference/`` and write the README's generated tables."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from regrad.atomic import write_atomically
from regrad.pipeline.folders import Folders
from regrad.pipeline.verdicts import COST, PUBLISHED, cost_of_runs, records_of
from regrad.problems.data.sources import markdown_table
from regrad.report.ledger.tables import to_markdown
from regrad.runner.progress import duration
from regrad.store import Store


def reference_folder(folders: Folders, name: str) -> Path:
    """Return the folder of a published set of records, ``<preset>-<device>``."""
    return folders.root / "results" / "reference" / name


def publish(folders: Folders, name: str) -> list[Path]:
    """Copy records, circumstances and verdicts of the report that was made last; return what was written."""
    target = reference_folder(folders, name)
    if target.exists():
        shutil.rmtree(target)
    source, copy = Store(folders.runs), Store(target / "runs")
    preset = name.split("-")[0]
    records = records_of(folders, preset)
    for record in records:
        copy.put(record, source.circumstances(record.run_id))
    write_atomically(target / "claims.json", folders.claims.read_bytes())
    for fact in sorted((folders.generated / "live").glob("*.json")):
        write_atomically(target / "live" / fact.name, fact.read_bytes())
    spent = json.dumps(cost_of_runs(folders, preset, records), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(target / COST, (spent + "\n").encode())
    write_readme(folders)
    return sorted(path for path in target.rglob("*") if path.is_file())


def spent(store: Store) -> str:
    """Return how many runs a store holds and how long they took together, in words."""
    times = [store.circumstances(record.run_id) for record in store]
    seconds = sum(t.seconds for t in times if t is not None)
    return f"{len(times)} runs, {duration(seconds)} of one core"


def readme_parts(folders: Folders) -> dict[str, str]:
    """Return the README's generated parts, by marker."""
    folder = reference_folder(folders, PUBLISHED)
    claims: list[dict[str, Any]] = json.loads((folder / "claims.json").read_text())["claims"]
    source = f"From `results/reference/{PUBLISHED}/`: {spent(Store(folder / 'runs'))}."
    return {"verdicts": f"{source}\n\n{to_markdown(claims)}", "data": markdown_table()}


def filled(text: str, parts: dict[str, str]) -> str:
    """Return ``text`` with each part between its two markers.

    Raises:
        ValueError: If a marker is missing.
    """
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.S)
        match = pattern.search(text)
        if match is None:
            raise ValueError(f"README.md: no markers {name}:begin and {name}:end")
        text = f"{text[: match.end(1)]}{part.strip()}\n{text[match.start(2) :]}"
    return text


def write_readme(folders: Folders) -> None:
    """Bring the README's generated parts up to date."""
    path = folders.root / "README.md"
    write_atomically(path, filled(path.read_text(encoding="utf-8"), readme_parts(folders)).encode())
