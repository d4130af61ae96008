"""Looking changes nothing: what the lab saves, which records notebooks read, and where they write."""

import copy
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from regrad.pipeline import looking
from regrad.pipeline.folders import PIPELINE
from regrad.playground.saving import without_outputs
from regrad.published import SET, VARIABLE
from regrad.report.export import Exporter

ROOT = Path(__file__).parents[2]
IN_GIT = subprocess.run(["git", "ls-files", "notebooks"], cwd=ROOT, capture_output=True).returncode == 0
NOTEBOOKS = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "notebooks").rglob("*.ipynb") if "." not in p.parts)
NOTEBOOKS = [name for name in NOTEBOOKS if "checkpoints" not in name]


def looked_at(name):
    """A notebook as JupyterLab hands it over after somebody ran it, folded a cell and scrolled."""
    notebook = nbformat.read(ROOT / name, as_version=4)
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7", "nbconvert_exporter": "python"}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    for number, cell in enumerate(notebook.cells):
        cell.metadata |= {"collapsed": True, "jupyter": {"outputs_hidden": True}, "execution": {"iopub.status": "x"}}
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="a result")]
            cell.execution_count = number
    return {"type": "notebook", "path": name, "content": notebook}


def save(model, root=ROOT):
    without_outputs(model=model, path=model["path"], contents_manager=SimpleNamespace(root_dir=str(root)))
    return nbformat.writes(model["content"]) + "\n"


@pytest.mark.skipif(not IN_GIT, reason="needs git")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_saving_a_notebook_that_was_run_writes_the_bytes_that_were_there(name):
    assert save(looked_at(name)) == (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.skipif(not IN_GIT, reason="needs git")
def test_what_somebody_wrote_is_saved_and_a_notebook_of_their_own_keeps_its_outputs():
    model = looked_at(NOTEBOOKS[0])
    model["content"].cells[1].source = "preset = 'small'"
    assert "preset = 'small'" in save(model)
    own = looked_at(NOTEBOOKS[0]) | {"path": "notebooks/mine.ipynb"}
    before = copy.deepcopy(own)
    assert save(own) == nbformat.writes(before["content"]) + "\n"
    folder = {"type": "directory", "path": "notebooks", "content": None}
    without_outputs(model=folder, path="notebooks", contents_manager=SimpleNamespace(root_dir=str(ROOT)))
    assert folder["content"] is None


@pytest.fixture
def nobody(monkeypatch):
    """Neither the pipeline nor an earlier notebook has chosen a set."""
    monkeypatch.delenv(PIPELINE, raising=False)
    monkeypatch.setenv(VARIABLE, "")


@pytest.mark.usefixtures("nobody")
def test_a_notebook_reads_published_records_or_its_own_and_writes_nowhere():
    folders, preset = looking.look(ROOT / "notebooks", "published", "smoke")
    assert (folders.runs, preset) == (ROOT / "results" / "reference" / SET / "runs", SET.split("-")[0])
    assert folders.exports is None
    folders, preset = looking.look(ROOT / "notebooks", "own", "smoke")
    assert (folders.runs, preset) == (ROOT / "results" / "runs", "smoke")
    assert folders.exports is None


def test_what_the_pipeline_chose_stands_and_is_written(monkeypatch):
    monkeypatch.setenv(PIPELINE, "1")
    monkeypatch.setenv(VARIABLE, "")
    folders, preset = looking.look(ROOT, "published", "smoke")
    assert (folders.runs, preset) == (ROOT / "results" / "runs", "smoke")
    assert folders.exports == ROOT / "paper" / "generated"
    assert os.environ[VARIABLE] == ""


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publishd", "small"), "records = 'publishd'; did you mean 'published'?"),
        (("own", "smal"), "preset = 'smal'; did you mean 'small'?"),
    ],
)
def test_a_wrong_word_is_one_line_that_names_the_right_one(words, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        looking.look(ROOT, *words)
    assert str(caught.value) == said


def test_a_notebook_that_is_looked_at_shows_figures_and_says_that_it_wrote_nothing(tmp_path, monkeypatch):
    from regrad.report.style import canvas

    def draw():
        with canvas() as (figure, axis):
            axis.plot([0, 1])
        return figure

    monkeypatch.chdir(tmp_path)
    exporter = Exporter(None, notebook="01_tiny", preset="smoke", records=[], source="nothing")
    assert exporter.figure("fig-tiny", draw)._repr_png_()[0].startswith(b"\x89PNG")
    exporter.table("tab-tiny", "a")
    exporter.numbers({"a": "1"})
    assert exporter.fact("tiny", lambda: (1, 2)) == [1, 2]
    assert exporter.finish().startswith("shown, nothing written: ")
    with pytest.raises(ValueError, match="'Bad'"):
        exporter.table("Bad", "a")
    assert list(tmp_path.iterdir()) == []


def test_jupyterlab_is_told_to_save_so_and_to_ask_nobody_for_news():
    folder = ROOT / "notebooks" / ".jupyter"
    settings = json.loads((folder / "jupyter_lab_config.json").read_text())
    module, _, name = settings["ContentsManager"]["pre_save_hook"].rpartition(".")
    assert (module, name) == (without_outputs.__module__, without_outputs.__name__)
    overrides = json.loads((folder / "labconfig" / "default_setting_overrides.json").read_text())
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_a_table_shows_no_row_numbers_and_an_index_that_says_something():
    shell = InteractiveShell.instance()
    try:
        looking.show_tables_without_row_numbers()
        long = "a sentence that is longer than the fifty characters at which pandas would cut it off"
        frame = pd.DataFrame({"what": [long]})
        for shown, index in ((frame, False), (frame.set_index(pd.Index(["first"])), True)):
            html = shell.display_formatter.format(shown)[0]["text/html"]
            assert long in html
            assert ("<th>0</th>" in html, "<th>first</th>" in html) == (False, index)
    finally:
        InteractiveShell.clear_instance()
