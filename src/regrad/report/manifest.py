"""What the notebooks exported: a manifest a notebook, a row a file."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from regrad.atomic import write_atomically
from regrad.results import Frozen

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # of a figure or table: no slash, nothing that LaTeX or HTML reads


class ManifestRow(Frozen):
    """One exported file, and what it was made from."""

    name: str  # its path in the generated folder
    notebook: str
    preset: str
    device: str
    runs: tuple[str, ...]  # their runs, sorted
    run_set: str  # digits that name this set of runs
    commit: str
    sha256: str
    stamp: str = ""  # the line that it carries; empty for what no reader sees
    source: str = ""  # what the stamp says in place of runs, if it does
    drawn_by: str = ""  # module and name of the function that drew a figure, ``"module:name"``


def manifest_path(generated: Path, notebook: str) -> Path:
    return generated / "manifest" / f"{notebook}.json"


def write_manifest(generated: Path, notebook: str, rows: Iterable[ManifestRow]) -> None:
    # In the order of names, not of cells: a cell that moves changes no byte.
    values = [row.model_dump(mode="json") for row in sorted(rows, key=lambda row: row.name)]
    body = json.dumps(values, indent=1, sort_keys=True)
    write_atomically(manifest_path(generated, notebook), (body + "\n").encode())


def read_manifest(generated: Path, notebook: str) -> list[ManifestRow]:
    """Return the rows of a notebook's manifest; none for one that has exported nothing."""
    path = manifest_path(generated, notebook)
    return [ManifestRow(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def read_manifests(generated: Path) -> list[ManifestRow]:
    notebooks = sorted(path.stem for path in (generated / "manifest").glob("*.json"))
    return [row for notebook in notebooks for row in read_manifest(generated, notebook)]
