"""The site's files: nothing runs in them but our script, every way leads somewhere, equal input, equal bytes."""

import hashlib
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from regrad.pipeline import documents, generator, proofread, site, site_ledger, site_notebooks
from regrad.pipeline.folders import Folders
from regrad.pipeline.site_figures import shown
from regrad.pipeline.site_sources import caption, source_at
from regrad.published import SET
from regrad.results import run_set
from regrad.studies.catalogue import PAPERS
from site_world import CLAIMS, FACTS, STAMP, cell, picture, png, world

ROOT = Path(__file__).parents[1]
ARTICLE = re.compile(r"<article.*</article>", re.S)
SCRIPTS = {"documentation_options.js", "doctools.js", "sphinx_highlight.js", "furo.js", "site.js", "searchtools.js",
           "language_data.js", "english-stemmer.js", "base-stemmer.js", "searchindex.js"}  # fmt: skip


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(path):
    return Elements(path.read_text(encoding="utf-8")).found


def pages(folder):
    return sorted(folder.rglob("*.html"))


def test_no_script_of_a_notebook_survives_and_no_page_loads_anything_from_elsewhere(small_site):
    for path in pages(small_site):
        text = path.read_text(encoding="utf-8")
        sources = {attrs["src"] for tag, attrs in elements(path) if tag == "script" and "src" in attrs}
        assert {source.partition("?")[0].rpartition("/")[2] for source in sources} <= SCRIPTS, path
        found = Elements(ARTICLE.search(text)[0]).found
        assert not {"script", "iframe", "svg", "object", "embed", "base", "style"} & {tag for tag, _ in found}, path
        for tag, attrs in [*found, *elements(path)]:
            assert not [name for name in attrs if name.startswith("on")], (path, tag)
            assert not str(attrs.get("href", "")).lower().startswith("javascript"), path
            assert not re.match(r"(https?:)?//", attrs.get("src") or ""), path
        assert "display:none" not in text


def test_what_a_hostile_cell_says_is_still_shown_as_text(small_site):
    text = (small_site / "00_start.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in text
    assert "no picture" in text
    assert "<td>1</td>" in text


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_equal_input_gives_equal_bytes_and_sweeps_an_earlier_build_from_the_site_s_own_folders(tmp_path, small_site):
    folders, executed = world(tmp_path)
    old, other = folders.site / "records" / "old.html", folders.site / "mine.txt"
    for path in (old, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    files = site.build(executed, folders.site, claims=CLAIMS, facts=FACTS, folders=folders)
    assert contents(folders.site) == contents(small_site) | {Path("mine.txt"): b"x"}
    assert {path.relative_to(folders.site) for path in files} == set(contents(small_site))


def test_every_link_and_picture_of_every_page_is_there(small_site):
    # What the hostile cell says is its own.
    assert [line for line in proofread.site(small_site) if not line.startswith("00_start.html: code key")] == []


def test_no_page_has_an_identifier_twice_and_every_picture_has_words(small_site):
    for path in pages(small_site):
        ids = [attrs["id"] for _, attrs in elements(path) if "id" in attrs]
        assert len(ids) == len(set(ids)), path
        assert all(attrs.get("alt", "").strip() for tag, attrs in elements(path) if tag == "img"), path


def test_a_figure_leads_to_notebook_code_and_records(small_site):
    text = (small_site / "figures.html").read_text(encoding="utf-8")
    part = text[text.index('src="figures/fig-one.png"') :].split("</figure>")[0]
    assert 'href="01_first.html#fig-one"' in part
    code, line = re.search(r'href="(code/unknown/regrad\.studies\.sign_placement\.[a-z.]+)#L(\d+)"', part).groups()
    assert f'<span id="L{line}">def fig_curves' in (small_site / code).read_text(encoding="utf-8")
    name = re.search(r'href="records/(\w+)\.html"', part)[1]
    assert STAMP in part
    data = (small_site / "records" / f"{name}.jsonl").read_bytes()
    assert run_set([json.loads(row)["run_id"] for row in data.splitlines()]) == name
    assert hashlib.sha256(data).hexdigest() in (small_site / "records" / f"{name}.html").read_text()


def test_a_figure_of_a_benchmark_bears_its_stamp_and_leads_to_the_file(small_site):
    text = (small_site / "01_first.html").read_text(encoding="utf-8")
    part = text[text.index('id="fig-bench"') :].split("</figure>")[0]
    assert "benchmark of today · commit unknown" in part
    assert 'href="records/speed.json"' in part


def test_every_paper_of_the_ledger_is_named_as_the_table_of_papers_names_it(small_site):
    text = (small_site / "index.html").read_text(encoding="utf-8")
    assert "DGS: dynamic gradient scaling (Mann, 2024)" in text
    assert PAPERS["sgg"].heading in text


def test_the_first_page_says_what_held_what_failed_what_is_open_at_what_scale_and_what_to_use(small_site):
    lead = (small_site / "index.html").read_text(encoding="utf-8").partition('id="claims"')[0]
    for part in ("in 2 runs", "1 k parameters", "Held (1)", "Did not hold when run (1)", "Open after running (1)",
                 "Not tested (1)", "What to use", "“Sentence 1” (SGG)"):  # fmt: skip
        assert part in lead, part


def test_a_paper_that_no_study_bears_is_named_by_its_key():
    (paper,) = site_ledger.papers([CLAIMS[0] | {"paper": "mine"}])
    assert (paper["title"], paper["parts"]) == ("mine", ["mine"])
    (row,) = site_ledger.shown([CLAIMS[0] | {"paper": "mine", "unit": "accuracy"}], {}, str)
    assert (row["of"], row["figures"]) == ("mine", "−1.2 [−50.0,\N{NO-BREAK SPACE}25.0] points")


def test_a_claim_says_everything_and_leads_to_the_notebook_that_decides_it(small_site):
    text = (small_site / "index.html").read_text(encoding="utf-8")
    row = text[text.index('id="claim-X1"') :].split("</tr>")[0]
    figures = ("−0.012 [−0.500,\N{NO-BREAK SPACE}0.250] nats", "&lt; 0.001")
    for part in (*figures, "reason 1", "Our grid is coarser.", 'href="01_first.html"'):
        assert part in row, part
    assert "[−0.500,\N{NO-BREAK SPACE}∞]" in text
    assert "&lt;b&gt;more" in row
    assert [text.count(f'data-verdict="{claim["verdict"]}"') for claim in CLAIMS] == [1] * len(CLAIMS)


def test_a_claim_decided_by_reading_leads_to_the_line_of_its_proof(tmp_path):
    builder = site.Builder(tmp_path / "pages", tmp_path / "site", FACTS, Folders(ROOT, tmp_path))
    claims = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
    proofs = [claim["test"]["proof"] for claim in claims if claim["verdict"] == "refuted by construction"]
    assert proofs
    for test in proofs:
        page, _, line = builder.proof(test).partition("#L")
        text = (tmp_path / "pages" / page).read_text(encoding="utf-8")
        assert f'<span id="L{line}">def {test.partition("::")[2]}(' in text
    assert builder.proof("tests/gone.py::test_x") == ""


def test_a_notebook_s_page_shows_the_parameters_that_it_ran_with_and_not_the_defaults():
    cells = [cell("preset = 'smoke'"), cell("preset = 'medium'"), cell("run(preset)")]
    cells[0]["metadata"]["tags"] = ["parameters"]
    alone = nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert "smoke" in site_notebooks.body(alone, [], [], ())
    cells[1]["metadata"]["tags"] = ["injected-parameters"]
    both = nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    shown = site_notebooks.body(both, [], [], ())
    assert ("smoke" in shown, "medium" in shown, "run" in shown) == (False, True, True)


def test_a_picture_s_name_is_what_the_exporter_said_beside_it_and_no_other_name_gets_into_a_page():
    named = [{"figure": "fig-one"}, {}, {"figure": "../../x"}, {"figure": "fig-one"}, {"figure": ["fig-one"]}]
    outputs = [picture(png(30, 20), **beside) for beside in named]
    outputs.append(outputs[0] | {"metadata": {"image/png": "fig-one"}})
    notebook = nbformat.from_dict({"cells": [{"cell_type": "code", "source": "", "outputs": outputs}]})
    assert [(p.name, p.size) for _, p in shown(notebook, "01")] == [
        ("fig-one", (30, 20)), *((f"01-{place}", (30, 20)) for place in (2, 3, 4, 5, 6)),
    ]  # fmt: skip


def test_the_code_is_that_of_the_commit_and_not_of_today(tmp_path):
    from regrad.provenance import commit

    root = Path(site.__file__).parents[3]
    now = commit().rstrip("+")
    if now == "unknown":
        pytest.skip("not in a git checkout")
    path, text, note = source_at(root, now, "regrad.report.stamps")
    wanted = subprocess.run(["git", "-C", root, "show", f"{now}:{path}"], capture_output=True, text=True, check=True)
    assert text == wanted.stdout
    assert note == f"at commit {now}"
    assert "working tree" in source_at(root, now + "+", "regrad.report.stamps")[2]
    assert "working tree" in source_at(tmp_path, now, "regrad.report.stamps")[2]
    assert source_at(root, now, "os.path") is None


def test_a_change_of_manifest_look_or_playground_makes_the_site_stale(tmp_path):
    folders, _ = world(tmp_path)
    before = documents.site(folders, CLAIMS, FACTS).inputs
    for path in (folders.generated / "manifest" / "01_first.json", folders.notebooks / "playground" / "x.ipynb"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[]")
        assert before != (before := documents.site(folders, CLAIMS, FACTS).inputs), path
    assert {"conf.py", "site.css", "site.js", "index.html", "page.md"} <= {p.name for p in generator.inputs(folders)}


def test_a_caption_is_a_sentence_about_the_figure():
    assert caption("Return the figure of ``x`` over y.", "fig-a") == "X over y."
    assert caption("", "fig-a") == "Figure fig-a"
    assert png().startswith(b"\x89PNG")
