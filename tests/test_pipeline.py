"""The whole way with tiny notebooks and runs: each step once, again only if its input changed, failures apart."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from regrad.pipeline.estimates import operations
from regrad.pipeline.folders import Folders
from regrad.pipeline.notebooks import NotebookError
from regrad.pipeline.reproduce import DONE, ENVIRONMENT, FAILED, Order, set_aside
from regrad.pipeline.targets import plan_of
from regrad.report.export import Exporter
from regrad.results import Part
from regrad.store import Store
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Study
from tiny_runs import sgd, spec

MODULE = import_module("regrad.pipeline.reproduce")
ENSURE = import_module("regrad.runner.ensure")
ROOT = Path(__file__).parents[1]
FIRST = Study(name="first", title="First", notebook="00_first", trains=False)
STUDY = Study(name="study", title="Study", notebook="01_study")
SOURCE = {
    "cells": [
        {
            "cell_type": "code",
            "id": "p",
            "metadata": {"tags": ["parameters"]},
            "source": "preset = 'smoke'\ndevice = 'cpu'\njobs = 0",
            "outputs": [],
            "execution_count": None,
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class World:
    """A checkout with two notebooks, and what was done in it."""

    def __init__(self, root, cache):
        self.folders = Folders(root, cache)
        self.executed, self.performed, self.broken, self.specs = [], [], set(), [spec(seed=s) for s in (0, 1)]
        for name in ("notebooks", "paper"):
            (root / name).mkdir(parents=True)
        shutil.copy(ROOT / "paper" / "claims.toml", root / "paper")
        for target in (FIRST, STUDY):
            self.source(target).write_text(json.dumps(SOURCE))

    def source(self, target):
        return self.folders.notebooks / f"{target.notebook}.ipynb"

    def execute(self, path, output, parameters, *, timeout, live=True):
        """In place of papermill: what a notebook's cells would write."""
        self.executed.append(path.stem)
        if path.stem in self.broken:
            raise NotebookError(f"{path.name}: ZeroDivisionError: division by zero")
        records = list(Store(self.folders.runs)) if path.stem == STUDY.notebook else []
        made = Exporter(self.folders.generated, notebook=path.stem, preset=parameters["preset"], records=records)
        made.table(f"tab-{path.stem[3:]}", "a table")
        made.finish()
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(path.read_text())

    def run(self, *, targets=(FIRST, STUDY), documents=(), fresh=False, **changes):
        self.executed.clear()
        self.performed.clear()
        values = {"preset": "smoke", "device": "cpu", "jobs": 1, "offline": True}
        order = Order(list(targets), list(documents), **(values | changes))
        return MODULE.reproduce(self.folders, order, fresh=fresh)

    def contents(self):
        root = self.folders.root
        kept = [self.folders.generated, self.folders.executed, self.folders.state, self.folders.claims]
        files = [p for k in kept for p in ([k] if k.is_file() else k.rglob("*")) if p.is_file()]
        files += [p for p in self.folders.runs.rglob("*.json") if "circumstances" not in p.name]
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def world(tmp_path, cache, monkeypatch):
    made = World(tmp_path / "checkout", cache)
    real = ENSURE.perform
    monkeypatch.setattr(MODULE, "execute", made.execute)
    plan = lambda preset, records: made.specs  # noqa: E731
    for module in (MODULE, import_module("regrad.pipeline.explain"), import_module("regrad.pipeline.partial")):
        monkeypatch.setattr(module, "plan_of", lambda target: plan if target.trains else None)
    monkeypatch.setattr(ENSURE, "perform", lambda task: (made.performed.append(task.spec.seed), real(task))[1])
    monkeypatch.setattr("regrad.pipeline.paper.tex_is_there", lambda: False)
    return made


def test_the_first_call_makes_everything_and_the_second_nothing_with_the_same_bytes(world):
    assert world.run() == DONE
    assert world.performed == [0, 1]
    assert world.executed == ["00_first", "01_study"]
    before = world.contents()
    assert {"results/claims.json", "paper/generated/tables/tab-study.tex"} <= set(before)
    assert world.run() == DONE
    assert (world.performed, world.executed) == ([], [])
    assert world.contents() == before


def test_a_touched_notebook_is_not_executed_and_a_changed_one_is_alone(world):
    world.run()
    for path in world.folders.root.rglob("*"):
        os.utime(path, (1, 1))
    world.run()
    assert world.executed == []
    changed = json.loads(world.source(FIRST).read_text())
    changed["cells"][0]["source"] += "\n# why"
    world.source(FIRST).write_text(json.dumps(changed))
    world.run()
    assert (world.performed, world.executed) == ([], ["00_first"])


def test_a_changed_ledger_executes_the_notebooks_and_trains_nothing(world):
    world.run()
    ledger = world.folders.paper / "claims.toml"
    ledger.write_text(ledger.read_text() + "\n# a note\n")
    world.run()
    assert (world.performed, world.executed) == ([], ["00_first", "01_study"])


def test_a_benchmark_measured_again_executes_the_notebooks_and_trains_nothing(world):
    world.run()
    world.folders.benchmarks.mkdir(parents=True)
    (world.folders.benchmarks / "step-cpu.json").write_text("{}")
    world.run()
    assert (world.performed, world.executed) == ([], ["00_first", "01_study"])


def test_a_damaged_table_is_made_again_with_the_same_bytes(world):
    world.run()
    before = world.contents()
    (world.folders.generated / "tables" / "tab-study.tex").write_text("forged")
    world.run()
    assert (world.performed, world.executed) == ([], ["01_study"])
    assert world.contents() == before


def test_a_damaged_record_is_run_again_and_changes_nothing_else(world):
    world.run()
    before = world.contents()
    victim = next(world.folders.root / name for name in before if name.startswith("results/runs/"))
    victim.write_bytes(victim.read_bytes()[:-10])
    world.run()
    assert len(world.performed) == 1
    assert world.executed == []
    after = {k: v for k, v in world.contents().items() if "quarantine" not in k}
    assert after == before


def test_another_preset_executes_with_that_preset(world):
    world.run()
    world.run(preset="small")
    assert world.executed == ["00_first", "01_study"]
    assert world.performed == [], "the specs are the same: a run does not know its preset"
    rows = json.loads((world.folders.generated / "manifest" / "01_study.json").read_text())
    assert {row["preset"] for row in rows} == {"small"}


def test_a_further_run_executes_the_study_only(world):
    world.run()
    world.specs = [*world.specs, spec(seed=2)]
    world.run()
    assert (world.performed, world.executed) == ([2], ["01_study"])


def test_a_failing_notebook_stops_no_other_and_is_tried_again(world, capsys):
    world.broken = {"00_first"}
    assert world.run() == FAILED == 1
    assert world.executed == ["00_first", "01_study"]
    assert "first: FAILED: 00_first.ipynb: ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert world.folders.claims.exists()
    world.broken = set()
    assert world.run() == DONE
    assert world.executed == ["00_first"]


def test_a_failing_run_fails_its_study_and_nothing_else(world, capsys):
    bad = spec(seed=5, optimizer=Part(name="sgd", options={"lr": 0.1, "momentun": 1}))
    world.specs = [spec(), bad]
    assert world.run(targets=(STUDY, FIRST)) == FAILED
    assert world.performed == [0, 5]
    assert world.executed == ["00_first"]
    assert "study: FAILED: " in capsys.readouterr().err


def test_a_diverged_run_fails_nothing(world):
    world.specs = [spec(optimizer=sgd(1e30))]
    assert world.run() == DONE


def test_without_latex_everything_else_is_made_and_the_exit_code_is_3(world, capsys):
    assert world.run(documents=("paper",)) == ENVIRONMENT == 3
    assert world.executed == ["00_first", "01_study"]
    assert "no LaTeX here" in capsys.readouterr().err
    assert (world.folders.generated / "numbers.tex").exists()


def test_the_paper_is_typeset_once_and_again_only_if_a_source_changed(world, monkeypatch):
    typeset = []

    def pretend(folder):
        typeset.append(1)
        (folder / "report.pdf").write_text("a report")
        return []

    monkeypatch.setattr("regrad.pipeline.paper.tex_is_there", lambda: True)
    monkeypatch.setattr("regrad.pipeline.paper.typeset", pretend)
    (world.folders.paper / "report.tex").write_text("text")
    for expected in (1, 1):
        assert world.run(documents=("paper",)) == DONE
        assert len(typeset) == expected
    (world.folders.paper / "report.tex").write_text("other text")
    world.run(documents=("paper",))
    assert len(typeset) == 2
    (world.folders.paper / "report.pdf").unlink()
    world.run(documents=("paper",))
    assert len(typeset) == 3


def test_an_error_of_latex_is_a_failed_target(world, monkeypatch, capsys):
    from regrad.pipeline.paper import PaperError

    def fail(folder):
        raise PaperError("! Undefined control sequence.")

    monkeypatch.setattr("regrad.pipeline.paper.tex_is_there", lambda: True)
    monkeypatch.setattr("regrad.pipeline.paper.typeset", fail)
    assert world.run(documents=("paper",)) == FAILED
    assert "paper: FAILED: ! Undefined control sequence." in capsys.readouterr().err


def test_the_site_shows_the_notebooks_and_is_built_once(world, monkeypatch):
    monkeypatch.setattr("regrad.pipeline.documents.STUDIES", (FIRST, STUDY))
    hostile = json.loads(world.source(FIRST).read_text())
    text = "# A title\n<script>alert(1)</script><img src=x onerror=alert(1)>"
    hostile["cells"].insert(0, {"cell_type": "markdown", "id": "t", "metadata": {}, "source": text})
    world.source(FIRST).write_text(json.dumps(hostile))
    assert world.run(documents=("site",)) == DONE
    index, listed = ((world.folders.site / name).read_text() for name in ("index.html", "notebooks.html"))
    assert "00_first.html" in listed
    assert "A title" in listed
    assert "not tested" in index
    page = (world.folders.site / "00_first.html").read_text()
    assert "<script>alert(1)" not in page
    assert not re.search(r"<[^>]*\sonerror", page)
    stamp = (world.folders.site / "index.html").stat().st_mtime_ns
    assert world.run(documents=("site",)) == DONE
    assert (world.folders.site / "index.html").stat().st_mtime_ns == stamp


def test_fresh_sets_earlier_runs_aside_and_loses_none(world, capsys):
    world.run()
    names = {p.name for p in world.folders.runs.rglob("*.json")}
    assert world.run(fresh=True) == DONE
    assert world.performed == [0, 1]
    assert world.executed == ["00_first", "01_study"]
    aside = world.folders.root / "results" / "superseded-1"
    assert {p.name for p in (aside / "runs").rglob("*.json")} == names
    assert "earlier runs are kept in" in capsys.readouterr().err
    world.run(fresh=True)
    assert (world.folders.root / "results" / "superseded-2").is_dir()


def test_fresh_on_an_empty_checkout_is_no_error(world):
    assert set_aside(world.folders) is None
    assert world.run(fresh=True) == DONE


def test_a_moved_checkout_trains_and_executes_nothing(world, tmp_path):
    world.run()
    moved = tmp_path / "moved, with ü and space"
    world.folders.root.rename(moved)
    world.folders = Folders(moved, world.folders.cache)
    assert world.run() == DONE
    assert (world.performed, world.executed) == ([], [])


def test_verdicts_are_gathered_again_only_when_something_changed_that_they_follow_from(world, monkeypatch):
    from regrad.pipeline import verdicts

    gathered, real = [], verdicts.write
    monkeypatch.setattr(verdicts, "write", lambda *a, **k: (gathered.append(1), real(*a, **k))[1])
    world.run()
    world.run()
    assert len(gathered) == 1
    kept = world.folders.claims.read_bytes()
    world.folders.claims.unlink()
    world.run()
    assert (len(gathered), world.folders.claims.read_bytes()) == (2, kept)
    world.specs.append(spec(seed=5))
    world.run()
    assert len(gathered) == 3


def test_a_reproduction_that_has_nothing_to_do_imports_no_library_that_only_work_needs():
    """What a second call costs is mostly what it imports."""
    code = "import sys, regrad.cli, regrad.pipeline.reproduce, regrad.pipeline.show\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "scipy", "statsmodels", "pandas", "matplotlib", "nbformat", "jinja2", "joblib"}
    assert heavy & set(done.stdout.split()) == set()


def test_every_study_at_preset_paper_has_an_estimate_and_a_language_model_counts_six_operations():
    for target in STUDIES:
        plan = plan_of(target)
        if plan:
            assert sum(map(operations, {spec.problem.name: spec for spec in plan("paper", [])}.values())) >= 0
    sign = next(spec for spec in plan_of(STUDIES[1])("small", []))
    length = int(sign.problem.options["sequence_length"])
    assert operations(sign) == 6.0 * 115_008 * length * sign.batch_size * sign.steps
