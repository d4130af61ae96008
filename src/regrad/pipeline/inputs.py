"""What a target is made from, part by part, so that a changed part can be named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regrad import fingerprint
from regrad.fingerprint import closure, library_versions, notebook_modules
from regrad.pipeline.folders import Folders
from regrad.pipeline.freshness import file_hash
from regrad.pipeline.partial import unpublished
from regrad.pipeline.targets import LEDGER, notebook_path
from regrad.results import Record, run_set, sha256
from regrad.studies.study import Study

LIBRARIES = ["torch", "numpy", "scipy", "statsmodels", "matplotlib", "pandas", "papermill", "nbconvert"]


def code_parts(roots: list[str]) -> dict[str, str]:
    """Return a hash of each of our modules that ``roots`` reach; comments and docstrings do not count."""
    return {f"code {name}": module.digest[:16] for name, module in closure(roots).items()}


def notebook_parts(
    folders: Folders, target: Study, parameters: Mapping[str, Any], records: list[Record]
) -> dict[str, str]:
    """Return a hash or a word for everything that a notebook's outputs follow from."""
    source = notebook_path(folders.notebooks, target)
    files = [source, folders.paper / "claims.toml", *sorted(folders.benchmarks.glob("*.json"))]
    parts = {f"file {path.relative_to(folders.root).as_posix()}": file_hash(path)[:16] for path in files}
    if folders.published:
        facts = sorted(folders.published.parent.glob("*/live/*.json"))  # a set of runs alone borrows them
        parts |= {f"file {path.relative_to(folders.root).as_posix()}": file_hash(path)[:16] for path in facts}
        parts["published set"] = folders.published.name
    parts |= {f"parameter {name}": str(value) for name, value in parameters.items() if name != "jobs"}
    parts |= {f"library {name}": version for name, version in library_versions(LIBRARIES).items()}
    parts |= code_parts(notebook_modules(source))
    return parts | {"runs": f"{len(records)} runs, set {run_set([r.run_id for r in records])}"}


def ledger_parts(folders: Folders, preset: str, device: str) -> dict[str, str]:
    """Return a hash or a word for everything that the verdicts and the ledger's tables follow from."""
    exports = [path for kind in ("claims", "manifest") for path in sorted((folders.generated / kind).glob("*.json"))]
    published = sorted((folders.root / "results" / "reference").glob("*/*.json"))
    files = [folders.paper / "claims.toml", *(path for path in exports if path.stem != LEDGER), *published]
    # All modules: what the runs behind the report have to do with today's code is among the words that it cites.
    code = sha256("".join(file_hash(path) for path in sorted(Path(fingerprint.__file__).parent.rglob("*.py"))))
    parts = {"code": code[:16], "parameter preset": preset, "parameter device": device}
    parts |= {f"unpublished {name}": words for name, words in unpublished(folders, preset, device).items()}
    parts |= {f"library {name}": version for name, version in library_versions(LIBRARIES).items()}
    return parts | {f"file {path.relative_to(folders.root).as_posix()}": file_hash(path)[:16] for path in files}
