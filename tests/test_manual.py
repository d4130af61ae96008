"""The manual: its snippets run, and it is built offline, from the source alone, without a warning."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_loop

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
def test_it_is_built_offline_without_torch_and_links_nowhere_outside(tmp_path):
    for name in ("sphinx", "furo", "myst_parser", "autoapi"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    claims = {"claims": [{"study": "sgg", "sentence": "It | helps.", "verdict": "inconclusive"}]}
    (tmp_path / "claims.json").write_text(json.dumps(claims))
    code = (
        "import sys; sys.modules['torch'] = None; from sphinx.cmd.build import main; "
        f"sys.exit(main(['-q', '-W', '-d', {str(tmp_path / 'trees')!r}, {str(MANUAL)!r}, {str(tmp_path / 'out')!r}]))"
    )
    environment = os.environ | {"REGRAD_CLAIMS": str(tmp_path / "claims.json")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.html")}
    outward = {url for text in pages.values() for url in re.findall(r'(?:src|href)="(https?://[^"]+)"', text)}
    assert outward == set()
    assert "It | helps." in pages[tmp_path / "out" / "methods" / "sgg.html"]
    assert "◐ inconclusive" in pages[tmp_path / "out" / "methods" / "sgg.html"]
    reference = pages[tmp_path / "out" / "api" / "regrad" / "optim" / "sgg" / "index.html"]
    assert "Steps until" in reference or "steps between reclusters" in reference
    assert not any('class="problematic"' in text for text in pages.values())
