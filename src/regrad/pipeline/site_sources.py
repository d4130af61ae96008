"""What a figure on the site leads to: its row in the manifest, the code at its commit, its records."""

import ast
import hashlib
import json
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from regrad.archive import opened
from regrad.claims.kinds.outcome import number
from regrad.fingerprint import module_path
from regrad.pipeline.folders import Folders
from regrad.report.manifest import ManifestRow, read_manifest
from regrad.results import Record, canonical

CLEAN = re.compile(r"[0-9a-f]{7,40}")  # a commit without changes on top


def figure_rows(folders: Folders, notebook: str) -> dict[str, ManifestRow]:
    rows = read_manifest(folders.generated, notebook)
    return {Path(row.name).stem: row for row in rows if row.name.startswith("figures/")}


def claim_pages(folders: Folders, stems: list[str]) -> dict[str, str]:
    paths = [folders.generated / "claims" / f"{stem}.json" for stem in stems]
    return {row["id"]: f"{p.stem}.html" for p in paths if p.exists() for row in json.loads(p.read_text())}


@cache
def source_at(root: Path, commit: str, module: str) -> tuple[str, str, str] | None:
    """Return path, text and origin of a module at a commit, else as it is here; None for a module not of ours."""
    here = module_path(module)
    if here is None:
        return None
    inside = here.is_relative_to(root)
    path = here.relative_to(root).as_posix() if inside else "src/" + module.replace(".", "/") + ".py"
    # As it was when the figure was drawn; the working tree may have moved on since.
    if CLEAN.fullmatch(commit):
        command = ["git", "-C", str(root), "show", f"{commit}:{path}"]
        try:
            done = subprocess.run(command, capture_output=True, check=True)
            return path, done.stdout.decode(), f"at commit {commit}"
        except (OSError, subprocess.CalledProcessError):
            pass  # no git here, or a copy without that commit
    return path, here.read_text(encoding="utf-8"), f"as in the working tree (stamped {commit})"


def proof_at(root: Path, test: str) -> tuple[str, str, int] | None:
    """Return path, text and line of a test, ``tests/….py::test_…``; None where its file is not there."""
    path, _, function = test.partition("::")
    if not (root / path).is_file():
        return None
    text = (root / path).read_text(encoding="utf-8")
    return path, text, definition(text, function)[0]


def definition(source: str, function: str) -> tuple[int, str]:
    """Return the line of a function and the first line of its docstring; 1 and nothing if it is not there."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return node.lineno, (ast.get_docstring(node) or "").split("\n")[0]
    return 1, ""


def caption(docstring: str, name: str) -> str:
    """Return what a figure shows, from its function's docstring: no mark-up, one sentence."""
    text = re.sub(r"^(Return|Draw|Plot)\s+(the figure (of|with)\s+)?", "", docstring.replace("`", "")).strip()
    return text[:1].upper() + text[1:] if text else f"Figure {name}"


class Shelf:
    """The records behind figures, read once."""

    def __init__(self, runs: Path) -> None:
        self.store, self.read = opened(runs), dict[str, Record | None]()

    def records(self, ids: Iterable[str]) -> list[Record | None]:
        """Return the records of these runs, None for one that is not in the store."""
        for name in ids:
            if name not in self.read:
                self.read[name] = self.store.get(name)
        return [self.read[name] for name in ids]


def lines(records: list[Record]) -> bytes:
    return "".join(canonical(record.model_dump(mode="json")) + "\n" for record in records).encode()


def plain_first(metrics: dict[str, float]) -> list[str]:
    """Return the names of metrics, those of one tensor or batch size (with a slash) last."""
    return sorted(metrics, key=lambda name: ("/" in name, name))


COLUMNS = ("Run", "Problem", "Optimizer", "Learning rate", "Steps", "Seed", "Status", "Results")


def table(records: list[Record]) -> list[tuple[str, ...]]:
    return [
        (
            r.run_id[:12],
            r.spec.problem.name,
            r.spec.optimizer.name,
            str(r.spec.optimizer.options.get("lr", "")),
            str(r.spec.steps),
            str(r.spec.seed),
            r.status,
            ", ".join(f"{key} {number(r.metrics[key])}" for key in plain_first(r.metrics)[:3]),
        )
        for r in records
    ]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
