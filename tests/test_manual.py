"""The manual: its snippets run, and it is built offline, from the source alone, without a warning."""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

import lightning_loop
from regrad.pipeline import generator, proofread, site
from regrad.pipeline.folders import Folders
from site_world import FACTS, claim

ROOT = Path(__file__).parents[1]
MANUAL = ROOT / "docs" / "manual"
PAGES = sorted(MANUAL.rglob("*.md"))
HEAVY = {"accelerate", "trainer"}


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


WITH_CODE = [page for page in PAGES if snippets(page)]


def parameter(page):
    marks = [pytest.mark.slow] if page.stem in HEAVY else []
    return pytest.param(page, marks=marks, id=page.relative_to(MANUAL).with_suffix("").as_posix())


@pytest.mark.parametrize("page", [parameter(page) for page in WITH_CODE])
def test_what_a_page_shows_runs(page, monkeypatch):
    # A large library that only this page needs: what it does with a module is written out, and is replaced by it.
    if page.stem == "lightning" and importlib.util.find_spec("lightning") is None:
        monkeypatch.setitem(sys.modules, "lightning", lightning_loop)
    space = {"__name__": "snippet"}
    for code in snippets(page):
        exec(compile(code, str(page), "exec"), space)


def test_every_method_has_a_page_with_formula_picture_snippet_verdicts_and_when_not():
    methods = sorted((MANUAL / "methods").glob("*.md"))
    assert [page.stem for page in methods] == ["alsdgc", "dgs", "micro_adam", "sgg", "sign_sgd"]
    for page in methods:
        text = page.read_text(encoding="utf-8")
        assert re.search(r"^> .+[=←]", text, re.M), page
        ((words, picture),) = re.findall(r"!\[(.+)\]\((.+\.svg)\)", text)
        assert len(words) > 20
        assert (page.parent / picture).is_file()
        assert "**When to use it.**" in text
        assert "**When not.**" in text
        assert re.search(r"<!-- verdicts: \w+ -->", text)


@pytest.mark.slow
def test_it_is_built_offline_without_torch_and_holds_the_verdicts_and_the_docstrings(tmp_path, monkeypatch):
    if missing := generator.missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not there')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT / 'src'}")
    folders = Folders(tmp_path, tmp_path / "cache")
    for part in ("docs", "examples"):
        shutil.copytree(ROOT / part, tmp_path / part)
    claims = [claim(1, "inconclusive") | {"study": "sgg", "sentence": "It | helps."}]
    site.build([], folders.site, claims=claims, facts=FACTS, folders=folders)
    pages = {path: path.read_text(encoding="utf-8") for path in folders.site.rglob("*.html")}
    assert proofread.site(folders.site) == []
    method = pages[folders.site / "manual" / "methods" / "sgg.html"]
    assert "It | helps." in method
    assert '<span class="chip inconclusive">inconclusive</span>' in method
    reference = pages[folders.site / "manual" / "api" / "regrad" / "optim" / "sgg" / "index.html"]
    assert "Steps until" in reference or "steps between reclusters" in reference
    assert not any('class="problematic"' in text for text in pages.values())
