"""Without widgets every playground is the ordinary figure of the values it begins with, and bytes repeat."""

import ast
import json
import sys
from pathlib import Path

import pytest

from regrad.pipeline.notebooks import run_group
from regrad.playground import explore
from regrad.playground.explore import Explored, Mistake

FOLDER = Path(__file__).parents[2] / "notebooks" / "playground"
PLAYGROUNDS = sorted(path for path in FOLDER.glob("*.ipynb") if path.stem != "start")
PICTURE = {"image/png", "text/plain"}


def run(path):
    """Run a notebook's code cells in this process, as a kernel would that nobody looks at; return what they show."""
    names, shown = {}, []
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            *rest, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module([*rest], []), path.name, "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
            else:
                exec(compile(ast.Module([last], []), path.name, "exec"), names)
    return [value for value in shown if isinstance(value, Explored | Mistake)]


@pytest.fixture
def unwatched(monkeypatch):
    for name in explore.WATCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("REGRAD_REFERENCE", "")


@pytest.mark.slow
@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("path", PLAYGROUNDS, ids=lambda p: p.stem)
def test_run_all_shows_the_default_as_a_figure_and_its_bytes_repeat(path):
    first, second = ([one._repr_mimebundle_() for one in run(path)] for _ in range(2))
    assert len(first) == (2 if path.stem == "rules" else 1)
    assert all(set(shown) == PICTURE for shown in first)
    assert first == second


@pytest.mark.slow
def test_papermill_keeps_the_figure_and_nothing_of_a_widget(tmp_path):
    made = tmp_path / "made.ipynb"
    command = [sys.executable, "-m", "regrad.pipeline.watched_papermill", str(FOLDER / "sign.ipynb"), str(made)]
    code, errors = run_group([*command, "--cwd", str(FOLDER), "--no-progress-bar", "-k", "python3"], 200.0)
    assert code == 0, errors[-2000:]
    notebook = json.loads(made.read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert [set(output["data"]) for output in outputs] == [PICTURE]
    assert "widgets" not in notebook["metadata"]
