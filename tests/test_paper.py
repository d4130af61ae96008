"""The article holds no number that a person typed, includes what the notebooks make, and cites what it lists."""

import ast
import hashlib
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import alsdgc_records
import dgs_records
import micro_adam_records
import sgg_records
from regrad.claims.evaluate import evaluate_all
from regrad.claims.kinds.outcome import VERDICTS
from regrad.claims.load import load
from regrad.claims.plain import as_rows
from regrad.pipeline import paper, verdicts
from regrad.pipeline.folders import Folders
from regrad.pipeline.targets import LEDGER, exports, notebook_path
from regrad.report import benchmarks, costs
from regrad.report.export import Exporter, rendered
from regrad.report.latex import escape_tex
from regrad.report.stamps import unstamped
from regrad.store import Store
from regrad.studies.alsdgc import cost as alsdgc_cost
from regrad.studies.alsdgc import numbers as alsdgc_numbers
from regrad.studies.alsdgc.runtime.theorems import theorem_curves
from regrad.studies.catalogue import STUDIES
from regrad.studies.dgs import chapter as dgs_chapter
from regrad.studies.engine import numbers as engine_numbers
from regrad.studies.micro_adam import numbers as micro_adam_numbers
from regrad.studies.sgg import chapter as sgg_chapter
from regrad.studies.sign_placement import numbers as sign_numbers
from sign_records import carried_out, study_records

ROOT = Path(__file__).parents[1]
PAPER = ROOT / "paper"
SOURCES = [PAPER / "report.tex", *sorted((PAPER / "sections").glob("*.tex"))]
CLAIMS = load(PAPER / "claims.toml")
QUOTED = tomllib.loads((PAPER / "quoted.toml").read_text())["quoted"]
# What pipeline/verdicts.py makes of the whole ledger, after every notebook.
LEDGER_TABLES = {"tab-claims", "tab-power", "tab-deviations", "tab-compute", "tab-formal-audit"}
LEDGER_FIGURES = {"fig-board", "fig-gradient-map"}
# What each study's notebook hands to exporter.numbers, made from constructed records.
NUMBERS: dict[str, Callable[[], dict[str, str]]] = {
    "01_sign_placement": lambda: sign_numbers.numbers(carried_out(lambda part, arm: 2)),
    "02_micro_adam": lambda: micro_adam_numbers.numbers(micro_adam_records.tuned_records()),
    "04_engine": lambda: engine_numbers.numbers(
        benchmarks.read(ROOT / "results/reference/benchmarks/perexample-cpu.json")
    ),
    "05_sgg": lambda: sgg_chapter.all_numbers(sgg_records.study_records(), ROOT),
    "06_alsdgc": lambda: (
        alsdgc_numbers.numbers(alsdgc_records.study_records())
        | alsdgc_numbers.theorem_numbers(theorem_curves())
        | alsdgc_cost.cost_numbers(alsdgc_cost.benchmark(ROOT))
    ),
    "07_dgs": lambda: dgs_chapter.all_numbers(dgs_records.study_records(), dgs_records.REPAIRED, ROOT),
}

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PAPER).as_posix())


def read(path):
    """A source without its comments."""
    return re.sub(r"(?<!\\)%.*", "", path.read_text())


def body(path):
    """A source's text: of the main file what follows its preamble."""
    return read(path).split(r"\begin{document}")[-1]


def everywhere(pattern):
    return [found for path in SOURCES for found in re.findall(pattern, body(path))]


# -- what is included and what is made


def test_the_report_includes_every_section_once_and_nothing_else():
    included = re.findall(r"\\input\{(sections/[^}]*)\}", body(PAPER / "report.tex"))
    included += [f"sections/{study.section}" for study in STUDIES if study.section]
    assert sorted(included) == sorted(p.relative_to(PAPER).with_suffix("").as_posix() for p in SOURCES[1:])


def test_the_report_includes_what_the_notebooks_make_and_the_notebooks_make_what_it_includes():
    included = everywhere(r"\\(?:figurefile|tablefile)(?:\[[^]]*\])?\{([^}]*)\}")
    assert len(included) == len(set(included)), "included twice"
    made = {name for study in STUDIES for name in exports(notebook_path(ROOT / "notebooks", study))}
    made |= LEDGER_TABLES | LEDGER_FIGURES
    assert set(included) == made


def test_figures_are_included_as_figures_and_tables_as_tables():
    assert all(name.startswith("fig-") for name in everywhere(r"\\figurefile(?:\[[^]]*\])?\{([^}]*)\}"))
    assert all(name.startswith("tab-") for name in everywhere(r"\\tablefile\{([^}]*)\}"))


def test_nothing_but_the_generated_folder_and_the_sections_is_read():
    """No other route for a picture or a table into the report."""
    assert not everywhere(r"\\includegraphics")
    read = set(everywhere(r"\\input\{([^}]*)\}"))
    assert all(name.startswith("sections/") for name in read - {"generated/sections"})
    assert not everywhere(r"\\(?:write18|openin|openout|read|immediate|csname|catcode)")


# -- numbers


def literal_keys(path):
    """Keys of the dictionaries written out in a notebook's calls of exporter.numbers."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    nodes = [n for c in cells for n in ast.walk(ast.parse("".join(c["source"])))]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "exporter.numbers"]
    given = [a for call in calls for a in call.args if isinstance(a, ast.Dict)]
    return {k.value for d in given for k in d.keys if isinstance(k, ast.Constant)}


def exported_keys(checkout):
    verdicts.write(checkout, preset="small", device="cpu")
    of_the_ledger = (checkout.generated / "numbers" / f"{LEDGER}.tex").read_text()
    keys = {*re.findall(r"\\setval\{([^}]*)\}", of_the_ledger), *costs.numbers({})}
    for study in STUDIES:
        keys |= literal_keys(notebook_path(ROOT / "notebooks", study))
        keys |= set(NUMBERS[study.notebook]()) if study.notebook in NUMBERS else set()
    return keys


def test_every_number_that_the_prose_cites_is_exported_by_somebody(checkout):
    """A new study lists its function in NUMBERS above."""
    cited = set(everywhere(r"\\val\{([^}]*)\}"))
    assert cited - exported_keys(checkout) == set()
    assert len(cited) > 20


def without_quoted(path):
    """A source's text without macros that hold no prose, and without the numbers that it may quote."""
    text = body(path)
    macros = r"val|ref|eqref|pageref|label|input|figurefile|tablefile|bibliography|bibliographystyle|cite\w*|setlength"
    text = re.sub(rf"\\(?:{macros})\*?(?:\[[^]]*\])*\{{[^}}]*\}}(?:\{{[^}}]*\}})?", " ", text)
    text = re.sub(r"[\d.]+\\(?:column|text|line)width", " ", text)
    name = path.relative_to(PAPER).as_posix()
    for entry in QUOTED:
        if entry.get("file", name) == name:
            text = text.replace(entry["text"], " ")
    return text


TYPED = re.compile(
    r"\d+\.\d+|\d{1,3}(?:,\d{3})+|\d{3,}|\d+(?:\\,|~|\s)?(?:\\%|percent)"
    r"|(?<!\\frac)(?<!\\tfrac)\d+(?:\\,|~|\s)?[MBk]\b"
)


@each_source
def test_no_result_is_typed_by_hand(path):
    """Decimals, thousands, percentages and magnitudes; paper/quoted.toml lists those quoted, with their source."""
    assert TYPED.findall(without_quoted(path)) == []


@pytest.mark.parametrize("text", ["2.31", "12,800", "37\\,\\%", "37\\%", "115008", "60\\,M", "4 percent", "10k"])
def test_a_typed_result_would_be_noticed(text):
    assert TYPED.search(f"the loss is {text} here")


@pytest.mark.parametrize("text", ["four papers", "$\\frac1B$", "step 3 of 4", "C3b"])
def test_a_small_count_is_no_result(text):
    assert not TYPED.search(text)


@pytest.mark.parametrize("entry", QUOTED, ids=lambda e: e["text"])
def test_every_quoted_number_stands_somewhere_and_has_a_source(entry):
    assert set(entry) <= {"text", "file", "source"}
    paths = [PAPER / entry["file"]] if "file" in entry else SOURCES
    assert any(entry["text"] in body(path) for path in paths)
    assert len(entry["source"]) > 10


# -- citations and references


def test_every_citation_has_an_entry_and_every_entry_is_cited():
    keys = {k.strip() for group in everywhere(r"\\cite\w*\*?(?:\[[^]]*\])*\{([^}]*)\}") for k in group.split(",")}
    entries = re.findall(r"^@\w+\{([^,]+),", (PAPER / "refs.bib").read_text(), re.M)
    assert len(entries) == len(set(entries))
    assert keys == set(entries)


def test_every_entry_names_author_title_year_and_where_it_appeared():
    for entry in re.split(r"^@", (PAPER / "refs.bib").read_text(), flags=re.M)[1:]:
        fields = set(re.findall(r"^\s*(\w+)\s*=", entry, re.M))
        assert {"author", "title", "year"} <= fields, entry
        assert fields & {"note", "journal", "booktitle", "publisher", "howpublished", "url", "doi"}, entry


def test_every_reference_has_one_label_and_every_float_is_referred_to_by_caption_or_text():
    labels = everywhere(r"\\label\{([^}]*)\}")
    assert len(labels) == len(set(labels))
    assert set(everywhere(r"\\(?:eq|page)?ref\{([^}]*)\}")) <= set(labels)


def test_every_float_has_a_caption_and_a_label():
    for path in SOURCES:
        for found in re.findall(r"\\begin\{(?:figure|table)\*?\}.*?\\end\{(?:figure|table)\*?\}", body(path), re.S):
            assert found.count(r"\caption{") == found.count(r"\label{") == 1


@each_source
def test_braces_and_environments_are_balanced(path):
    text = read(path)
    bare = re.sub(r"\\[{}\\]", "", text)
    assert bare.count("{") == bare.count("}")
    text = body(path) if path.name != "report.tex" else text
    opened, closed = (re.findall(rf"\\{word}\{{(\w+\*?)\}}", text) for word in ("begin", "end"))
    assert sorted(opened) == sorted(closed)


# -- the generated folder


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_what_is_generated_is_not_in_git():
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], cwd=ROOT, capture_output=True, text=True)
    if inside.returncode:  # a plain copy of the sources: the list itself must do
        assert {"paper/generated/", "paper/report.pdf"} <= set((ROOT / ".gitignore").read_text().split())
        return
    for name in ("paper/generated/x", "paper/report.pdf", "site/index.html", "results/runs/ab/x.json"):
        assert subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT).returncode == 0, name
    listed = ["git", "ls-files", "paper/generated", "paper/report.pdf", "site", "results/runs", "results/claims.json"]
    assert subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout == ""


# -- stamps


def test_figures_are_written_by_the_exporter_alone_which_stamps_them():
    """No module and no notebook saves a picture by another route."""
    elsewhere = {"export.py", "explore.py"}  # a playground shows its picture and writes no file
    modules = [p for p in (ROOT / "src" / "regrad").rglob("*.py") if p.name not in elsewhere]
    for path in [*modules, *(ROOT / "notebooks").glob("*.ipynb")]:
        assert not re.search(r"\.savefig\(|\.print_figure\(", path.read_text(encoding="utf-8")), path


def test_a_figure_or_table_without_a_stamp_is_named(tmp_path):
    exporter = Exporter(tmp_path, notebook="x", preset="smoke", records=study_records(seeds=1)[:1])
    exporter.figure("fig-x", Figure)
    exporter.table("tab-x", "a & b")
    exporter.finish()
    assert unstamped(tmp_path) == []
    (tmp_path / "figures" / "fig-x.pdf").write_bytes(rendered(Figure(), "pdf", {}))
    (tmp_path / "tables" / "tab-y.tex").write_text("by hand")
    assert unstamped(tmp_path) == [
        "figures/fig-x.pdf: changed since its export", "tables/tab-y.tex: in no notebook's manifest",
    ]  # fmt: skip
    manifest = tmp_path / "manifest" / "x.json"
    changed = (tmp_path / "figures" / "fig-x.pdf").read_bytes()
    rows = [row | {"sha256": hashlib.sha256(changed).hexdigest()} for row in json.loads(manifest.read_text())]
    manifest.write_text(json.dumps(rows))
    assert "figures/fig-x.pdf: no stamp" in unstamped(tmp_path)


def test_what_was_made_here_is_stamped():
    included = everywhere(r"\\(?:figurefile|tablefile)(?:\[[^]]*\])?\{([^}]*)\}")
    assert [line for line in unstamped(PAPER / "generated") if re.split(r"[/.]", line)[1] in included] == []


# -- verdicts and typesetting


def test_every_claim_has_one_of_five_verdicts_and_a_row_in_the_report(checkout):
    rows = verdicts.write(checkout, preset="small", device="cpu")
    table = (checkout.generated / "tables" / "tab-claims.tex").read_text()
    for row in rows:
        assert row["verdict"] in VERDICTS
        assert f"{{{escape_tex(row['id'])}}} & " in table


def test_the_report_lists_the_verdicts_of_every_family_of_claims_and_cites_its_six_sentences():
    assert set(everywhere(r"\\val\{findings/([^}]*)\}")) == {claim.study.replace("_", "-") for claim in CLAIMS}
    assert everywhere(r"\\val\{abstract/([^}]*)\}") == list("123456")


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "paper").mkdir()
    shutil.copy(PAPER / "claims.toml", tmp_path / "paper")
    return Folders(tmp_path, tmp_path / "cache")


def test_without_any_export_every_claim_is_not_tested_and_says_why(checkout):
    rows = verdicts.write(checkout, preset="smoke", device="cpu")
    assert [row["id"] for row in rows] == [claim.id for claim in CLAIMS]
    assert all(row["why"] for row in rows)
    assert json.loads(checkout.claims.read_text())["claims"] == rows
    before = checkout.claims.read_bytes()
    verdicts.write(checkout, preset="smoke", device="cpu")
    assert checkout.claims.read_bytes() == before


def test_a_notebook_s_verdict_replaces_not_tested_and_no_other_changes(checkout):
    row = {**verdicts.gather(checkout, preset="small", device="cpu")[0], "verdict": "reproduced"}
    folder = checkout.generated / "claims"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps([row]))
    found = [r["verdict"] for r in verdicts.gather(checkout, preset="small", device="cpu")]
    assert found[0] == "reproduced"
    assert "reproduced" not in found[1:]
    at_another_preset = [r["verdict"] for r in verdicts.gather(checkout, preset="full", device="cpu")]
    assert set(at_another_preset) == {"not tested"}


def test_the_words_of_a_verdict_are_escaped():
    row = as_rows(evaluate_all(CLAIMS[:1], {}, preset="small", device="cpu"))[0]
    row |= {"verdict": "refuted by construction", "short": r"50 % of \input{x} & more_"}
    said = verdicts.words([row])["findings/sign-placement"]
    assert said.startswith(rf"\finding{{refuted}}{{\hyperlink{{claim:C3}}{{{escape_tex(row['short'])}}}}}")


def manifest_row(**fields):
    words = dict.fromkeys(("name", "notebook", "preset", "device", "run_set", "commit", "sha256"), "x")
    return words | {"runs": []} | fields


def untagged(spec):
    return spec.model_copy(update={"tags": {}})


def test_the_ledger_s_table_is_stamped_with_the_runs_behind_the_exports(checkout):
    """Records that a manifest names and the store has."""
    records = study_records(seeds=1)[:2]
    for made in records:
        Store(checkout.runs).put(made)
    folder = checkout.generated / "manifest"
    folder.mkdir(parents=True)
    here = manifest_row(preset="smoke", runs=[r.run_id for r in records] + ["0" * 64])
    (folder / "01.json").write_text(json.dumps([here]))
    assert {r.run_id for r in verdicts.records_of(checkout, "smoke")} == {r.run_id for r in records}
    assert verdicts.records_of(checkout, "small") == []
    verdicts.write(checkout, preset="smoke", device="cpu")
    assert "2 runs" in (checkout.generated / "tables" / "tab-claims.tex").read_text()
    (folder / "01.json").write_text(json.dumps([here | {"runs": [records[0].run_id]}]))
    assert verdicts.records_of(checkout, "smoke") == [records[0].model_copy(update={"spec": untagged(records[0].spec)})]


def test_the_joint_files_list_every_notebook(tmp_path):
    for folder in ("numbers", "manifest"):
        (tmp_path / folder).mkdir()
    for name in ("b", "a"):
        (tmp_path / "numbers" / f"{name}.tex").write_text("")
        (tmp_path / "manifest" / f"{name}.json").write_text(json.dumps([manifest_row(name=name)]))
    paper.assemble(tmp_path)
    expected = "\\input{generated/numbers/a}\n\\input{generated/numbers/b}\n"
    assert (tmp_path / "numbers.tex").read_text() == expected
    assert [row["name"] for row in json.loads((tmp_path / "manifest.json").read_text())] == ["a", "b"]


def test_latex_s_complaints_that_a_reader_would_see_are_found():
    log = "\n".join(
        [
            "LaTeX Warning: Reference `fig:x' on page 1 undefined on input line 3.",
            "Overfull \\hbox (12.3pt too wide) in paragraph",
            "Overfull \\vbox (41.3pt too high) has occurred while \\output is active []",
            "Underfull \\hbox (badness 10000)",
            "Package natbib Warning: Citation `x' on page 1 undefined on input line 2.",
            "LaTeX Warning: Label `a' multiply defined.",
        ]
    )
    assert len(paper.PROBLEM.findall(log)) == 5


needs_tex = pytest.mark.skipif(not paper.tex_is_there(), reason="needs latexmk and pdflatex")


def article(folder, text):
    (folder / "report.tex").write_text(f"\\documentclass{{article}}\\begin{{document}}{text}\\end{{document}}\n")


@needs_tex
def test_typesetting_twice_gives_equal_bytes(tmp_path):
    article(tmp_path, "text")
    assert paper.typeset(tmp_path) == []
    first = (tmp_path / "report.pdf").read_bytes()
    (tmp_path / "report.pdf").unlink()
    paper.typeset(tmp_path)
    assert (tmp_path / "report.pdf").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.pdf", "report.tex"]
    assert (tmp_path / "report.pdf").stat().st_mode == (tmp_path / "report.tex").stat().st_mode


@needs_tex
def test_an_error_in_the_source_is_said_and_the_last_good_pdf_stays(tmp_path):
    (tmp_path / "report.pdf").write_text("good")
    article(tmp_path, r"\nosuchcommand")
    with pytest.raises(paper.PaperError, match="Undefined control sequence"):
        paper.typeset(tmp_path)
    assert (tmp_path / "report.pdf").read_text() == "good"


@needs_tex
def test_a_shell_escape_is_not_executed(tmp_path):
    article(tmp_path, rf"a\immediate\write18{{touch {tmp_path}/executed}}")
    paper.typeset(tmp_path)
    assert not (tmp_path / "executed").exists()
