"""Notebooks stay thin: parameters, calls, exports. Their logic is in the package, where tests reach it."""

import ast
import json
import re
import subprocess
from pathlib import Path

import nbformat
import pytest

from regrad.cli import DEVICES
from regrad.fingerprint import notebook_modules
from regrad.pipeline.notebooks import LIVE, SENTINEL, check_parameters, parameters_of
from regrad.pipeline.targets import exports, notebook_path
from regrad.presets import PRESETS
from regrad.studies.catalogue import STUDIES

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOGIC = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.IfExp),
    *(ast.Try, ast.With, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Global, ast.Delete),
)
FORBIDDEN_NAMES = {"exec", "eval", "open", "__import__", "print", "getattr", "setattr", "globals"}
FORBIDDEN_MODULES = {"sys", "os", "subprocess", "torch", "numpy", "matplotlib", "pandas", "pickle"}

each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)


def code_cells(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def sources(path, tag=""):
    return ["".join(c["source"]) for c in code_cells(path) if not tag or tag in c["metadata"].get("tags", [])]


def test_every_notebook_is_a_study_s_and_every_study_has_a_notebook():
    assert {p.stem for p in PATHS} == {s.notebook for s in STUDIES}
    assert [s.notebook for s in STUDIES] == sorted(s.notebook for s in STUDIES), "in the order of the report"


@each_notebook
def test_a_notebook_is_valid_and_short(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    cells = sources(path)
    assert len(cells) <= 8
    assert sum(len(cell.splitlines()) for cell in cells) <= 42
    assert all(cell.strip() for cell in cells), "an empty code cell"


@each_notebook
def test_a_notebook_has_no_logic_of_its_own(path):
    for cell in sources(path):
        assert not cell.lstrip().startswith(("%", "!"))
        for node in ast.walk(ast.parse(cell)):
            assert not isinstance(node, LOGIC), ast.unparse(node)
            assert not (isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES), node.id


@each_notebook
def test_a_notebook_imports_our_package_and_paths_in_one_cell_only(path):
    nodes = {cell: list(ast.walk(ast.parse(cell))) for cell in sources(path)}
    live = sources(path, tag=LIVE)  # left out without torch, their imports too
    importing = [c for c in nodes if any(isinstance(n, ast.Import | ast.ImportFrom) for n in nodes[c])]
    assert [c for c in importing if c not in live] == [sources(path)[1]], "the imports come after the parameters"
    for node in (node for cell in importing for node in nodes[cell]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert module.split(".")[0] in {"regrad", "pathlib"}, module
            assert module.split(".")[0] not in FORBIDDEN_MODULES
    assert notebook_modules(path)


@each_notebook
def test_no_output_is_committed(path):
    for cell in code_cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    assert set(json.loads(path.read_text())["metadata"]) <= {"kernelspec", "language_info"}


@each_notebook
def test_the_parameters_are_literals_that_the_pipeline_can_set(path):
    values = parameters_of(path)
    assert set(values) == {"records", "preset", "device", "jobs"}
    check_parameters(path, {"preset": "small", "device": "cpu", "jobs": 2})
    assert values["preset"] in PRESETS
    assert values["device"] in DEVICES
    assert values["records"] == "published", "whoever opens it sees results, and trains nothing"
    assert code_cells(path)[0]["metadata"]["tags"] == ["parameters"], "the first code cell"


@each_notebook
def test_a_notebook_begins_with_a_title_and_says_what_it_is_about(path):
    first = json.loads(path.read_text())["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith("# ")
    assert len(text.split()) > 20


@each_notebook
def test_a_notebook_ends_by_finishing_its_exports(path):
    """Its last line prints the sentence that the pipeline looks for, and names the notebook's own file."""
    assert sources(path)[-1].splitlines()[-1] == "exporter.finish()"
    assert SENTINEL == "exported "
    calls = [n for cell in sources(path) for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.Call)]
    named = [k.value.value for c in calls for k in c.keywords if k.arg == "notebook"]
    assert named == [path.stem]


@each_notebook
def test_every_export_s_name_can_be_read_before_the_notebook_runs(path):
    """``--only fig-x`` and the report's inventory know figures and tables from the cells alone."""
    calls = [call for cell in sources(path) for call in re.findall(r"exporter\.(?:figure|table)\(", cell)]
    assert len(exports(path)) == len(calls)


@pytest.mark.parametrize("study", [s for s in STUDIES if s.trains], ids=lambda s: s.name)
def test_a_study_has_specs_at_every_preset_before_anything_ran(study):
    for preset in PRESETS:
        assert study.plan(preset, [])


def test_no_name_is_exported_twice():
    names = [name for study in STUDIES for name in exports(notebook_path(ROOT / "notebooks", study))]
    assert len(set(names)) == len(names)


def test_git_has_the_notebooks_and_not_their_executed_copies():
    done = subprocess.run(["git", "ls-files", "*.ipynb"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        assert all(Path(name).parent.name in ("notebooks", "playground") for name in done.stdout.split())
        # What the site shows of the playgrounds that need torch is published with the records.
        others = [name for name in done.stdout.split() if not name.startswith("results/reference/playground/")]
        assert not any(name.startswith("results/") for name in others)
