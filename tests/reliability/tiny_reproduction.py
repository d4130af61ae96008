"""A whole reproduction that takes seconds: tiny runs, a real exporter in place of papermill, a copy in place of LaTeX.

For processes that a test starts: `install` changes the pipeline of the process that calls it.
"""

import hashlib
import json
from importlib import import_module
from pathlib import Path

import regrad.provenance
import regrad.runner.train  # before a fork, not after it
from regrad.atomic import write_atomically
from regrad.pipeline import paper
from regrad.pipeline.folders import Folders
from regrad.pipeline.reproduce import Order
from regrad.report.export import Exporter
from regrad.results import Spec
from regrad.store import Store
from regrad.studies.study import Study
from test_pipeline import SOURCE
from tiny_runs import spec

MODULE, ENSURE = import_module("regrad.pipeline.reproduce"), import_module("regrad.runner.ensure")
PERFORM = ENSURE.perform
STUDY = Study(name="study", title="Study", notebook="01_study")
ORDER = Order([STUDY], ["paper"], "smoke", "cpu", 1, offline=True)


def specs() -> list[Spec]:
    """The four runs of the study."""
    return [spec(seed=seed) for seed in range(4)]


def checkout(root: Path, cache: Path) -> Folders:
    """Make a checkout with one notebook."""
    for part in ("notebooks", "paper"):
        (root / part).mkdir(parents=True)
    (root / "paper" / "claims.toml").write_text("")
    (root / "paper" / "report.tex").write_text("x")
    (root / "notebooks" / "01_study.ipynb").write_text(json.dumps(SOURCE))
    return Folders(root, cache)


def install(folders: Folders, planned: list[Spec] | None = None) -> None:
    """Make this process reproduce the tiny study, whatever is asked for, and note which runs begin."""
    regrad.provenance.commit = lambda: "abc"  # stamps name it, and a commit in the middle would change them
    chosen = planned or specs()

    def execute(path, output, parameters, *, timeout, live=True):
        made = Exporter(folders.generated, notebook=path.stem, preset="smoke", records=list(Store(folders.runs)))
        made.table("tab-study", "a table")
        made.numbers({"a/b": str(len(list(Store(folders.runs))))})
        made.finish()
        write_atomically(output, path.read_bytes())

    def typeset(folder):
        write_atomically(folder / "report.pdf", b"".join(p.read_bytes() for p in sorted(folder.rglob("*.tex"))))
        return []

    def perform(task):
        with open(folders.root / "begun", "a") as file:
            file.write(f"{task.spec.seed}\n")
        return PERFORM(task)

    MODULE.execute, MODULE.plan_of = execute, lambda target: lambda preset, records: chosen
    paper.tex_is_there, paper.typeset = lambda: True, typeset
    if planned is None:  # with several workers a run must be importable by name
        ENSURE.perform = perform


def contents(folders: Folders) -> dict[str, str]:
    """The checksums of everything that equal calls must make equally, by path."""
    kept = [folders.runs, folders.generated, folders.executed, folders.claims, folders.paper / "report.pdf"]
    files = [p for k in kept for p in ([k] if k.is_file() else k.rglob("*")) if p.is_file()]
    kept = [p for p in files if "circumstances" not in p.name and not p.name.startswith(".tmp")]
    names = {p.relative_to(folders.root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}
    return dict(sorted(names.items()))
