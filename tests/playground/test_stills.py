"""What the site shows of the playgrounds is what they start with today."""

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from regrad.pipeline import start_page
from regrad.pipeline.folders import checkout
from regrad.playground.stills import still
from regrad.published import VARIABLE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks" / "playground"
KEPT = sorted((ROOT / "results" / "reference" / "playground").glob("*.ipynb"))


def pictures(notebook):
    shown = [o.data["image/png"] for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.data]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), dtype=float) for data in shown]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_still_has_the_cells_of_its_playground_and_a_picture_for_each_that_explores(path):
    kept, source = (nbformat.read(where / path.name, as_version=4) for where in (path.parent, FOLDER))
    assert [cell.source for cell in kept.cells] == [cell.source for cell in source.cells]
    assert len(pictures(kept)) == sum(cell.source.count("explore(") for cell in source.cells)


def test_drawing_one_anew_gives_the_kept_picture_and_leaves_the_folder_alone(monkeypatch):
    monkeypatch.chdir(ROOT)
    kept, (now,) = nbformat.read(KEPT[0].parent / "sign.ipynb", as_version=4), pictures(still(FOLDER / "sign.ipynb"))
    (before,) = pictures(kept)
    assert Path.cwd() == ROOT
    assert now.shape == before.shape
    assert np.abs(now - before).mean() < 2  # of 255: another font is let through, another curve is not


def test_the_start_page_has_its_board_shows_no_code_and_is_made_again_only_when_it_has_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(start_page, "PAGE", tmp_path / "start.ipynb")
    monkeypatch.setenv(VARIABLE, "")
    made = start_page.make(checkout(ROOT))
    before, notebook = made.stat(), nbformat.read(made, as_version=4)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "markdown", "code"]  # the cards over the board
    assert len(pictures(notebook)) == 1
    assert notebook.cells[2].metadata["jupyter"]["source_hidden"] is True
    assert start_page.make(checkout(ROOT)).stat() == before
