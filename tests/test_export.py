"""What a notebook contributes to the report: equal bytes, a stamp, a manifest row, nothing that TeX executes.

One of the seeded faults: with the metadata dates left in, the escape of a character dropped, or a row of the
manifest forgotten, a test below fails.
"""

import hashlib
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrad.provenance import commit
from regrad.report.export import Exporter
from regrad.report.latex import TEX_SPECIAL, escape_tex
from regrad.report.stamps import stamp_text
from regrad.report.style import canvas
from regrad.report.tables import significant, to_latex, with_interval
from regrad.results import run_set
from tiny_runs import FINGERPRINT, record, spec

RECORDS = [record(spec(seed=s)) for s in (0, 1, 1)]


def drawing(title="a title"):
    with canvas() as (figure, axes):
        axes.plot([0, 1, 2], [3, 1, 2], label=title)
        axes.set(title=title, xlabel="steps", ylabel="loss")
        figure.legend(loc="outside upper center")
    return figure


def export(folder, *, records=RECORDS, preset="smoke", notebook="01_tiny"):
    exporter = Exporter(folder, notebook=notebook, preset=preset, records=records)
    exporter.figure("fig-tiny", drawing)
    exporter.table("tab-tiny", to_latex(pd.DataFrame({"a_b": ["50 %", "x & y"]})))
    exporter.numbers({"tiny/loss": "2.5", "tiny/order": "a $>$ b"})
    exporter.claims([{"id": "C1", "verdict": "not tested"}])
    return exporter.finish()


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_records_give_the_same_bytes(tmp_path):
    export(tmp_path / "one")
    export(tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == two
    assert set(one) == {
        "figures/fig-tiny.pdf",
        "tables/tab-tiny.tex",
        "numbers/01_tiny.tex",
        "claims/01_tiny.json",
        "manifest/01_tiny.json",
    }


def test_a_figure_holds_no_date_and_no_version_of_matplotlib(tmp_path):
    export(tmp_path)
    data = contents(tmp_path)["figures/fig-tiny.pdf"]
    assert b"CreationDate" not in data
    assert b"Matplotlib" not in data


def test_exporting_twice_into_one_folder_changes_nothing(tmp_path):
    export(tmp_path)
    before = contents(tmp_path)
    export(tmp_path)
    assert contents(tmp_path) == before


def test_the_stamp_says_preset_device_runs_seeds_run_set_and_commit():
    # Three records, two of them the same run: 2 runs, 2 seeds.
    ids = [r.run_id for r in RECORDS]
    text = stamp_text("small", RECORDS)
    assert text == f"preset small · cpu · 2 runs, 2 seeds · run set {run_set(ids)} · commit {commit()}"
    both = [*RECORDS, record(spec(seed=5), fingerprint=FINGERPRINT.model_copy(update={"device": "cuda"}))]
    assert "· cpu+cuda · 3 runs, 3 seeds ·" in stamp_text("small", both)
    assert "no device · 0 runs" in stamp_text("smoke", [])


def test_every_figure_and_table_carries_the_stamp(tmp_path):
    export(tmp_path)
    text = stamp_text("smoke", RECORDS)
    table = contents(tmp_path)["tables/tab-tiny.tex"].decode()
    assert table.startswith(f"% {text}\n")
    assert f"\\stamp{{{escape_tex(text)}}}" in table
    figure = drawing()
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    exporter.figure("fig-stamped", lambda: figure)
    seen = text.partition(" · commit")[0]  # letters of seven points: the rest is in the file's metadata
    assert seen in [t.get_text() for t in figure.texts]
    if shutil.which("pdftotext"):
        pdf = tmp_path / "figures" / "fig-stamped.pdf"
        printed = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True).stdout
        assert seen in printed
        assert text in subprocess.run(["pdfinfo", str(pdf)], capture_output=True, text=True, check=True).stdout


def test_a_figure_of_a_part_of_the_records_is_stamped_with_that_part(tmp_path):
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    exporter.table("tab-part", "x", records=RECORDS[:1])
    exporter.figure("fig-part", drawing, "a title", records=RECORDS[:1])
    assert "1 runs, 1 seeds" in (tmp_path / "tables" / "tab-part.tex").read_text()
    assert {row.runs for row in exporter.rows} == {(RECORDS[0].run_id,)}
    assert all("1 runs, 1 seeds" in row.stamp for row in exporter.rows)


def test_a_table_of_a_benchmark_says_so_and_names_no_runs(tmp_path):
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    exporter.table("tab-cost", "x", source="benchmark of today")
    [row] = exporter.rows
    assert (row.runs, row.device, row.source) == ((), "", "benchmark of today")
    assert row.stamp == f"benchmark of today · commit {commit()}"
    assert (tmp_path / "tables" / "tab-cost.tex").read_text().startswith(f"% {row.stamp}\n")


def test_the_manifest_has_a_row_a_file_with_what_it_was_made_from(tmp_path):
    sentence = export(tmp_path)
    files = contents(tmp_path)
    rows = {row["name"]: row for row in json.loads(files["manifest/01_tiny.json"])}
    assert set(rows) == set(files) - {"manifest/01_tiny.json"}
    for name, row in rows.items():
        seen = name.startswith(("figures/", "tables/"))
        assert row == {
            "name": name,
            "stamp": stamp_text("smoke", RECORDS) if seen else "",
            "source": "",
            "drawn_by": "test_export:drawing" if name.startswith("figures/") else "",
            "notebook": "01_tiny",
            "preset": "smoke",
            "device": "cpu",
            "runs": sorted({r.run_id for r in RECORDS}),
            "run_set": run_set([r.run_id for r in RECORDS]),
            "commit": commit(),
            "sha256": hashlib.sha256(files[name]).hexdigest(),
        }
    assert sentence.startswith("exported 4 files of 01_tiny: preset smoke")


def test_a_figure_comes_back_as_a_picture_for_the_notebook(tmp_path):
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    png, beside = exporter.figure("fig-tiny", drawing)._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert beside == {"figure": "fig-tiny"}, "by which the site finds its row in the manifest"


@pytest.mark.parametrize(
    "name",
    ["../fig", "Fig", "fig_a", "fig a", "fig--a", "-fig", "fig-", "", "fig.tex", "a/b", "fig\n", "fíg", "fig;rm"],
)
def test_a_bad_name_is_refused_and_nothing_is_written(tmp_path, name):
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    with pytest.raises(ValueError, match="lower-case letters, digits and single hyphens only"):
        exporter.table(name, "x")
    assert contents(tmp_path) == {}
    assert exporter.rows == []


@pytest.mark.parametrize("key", ["a b", "a}", "\\input", "a{b", "a#b", "", "/a", "a/", "a%", "a_b", "a\n"])
def test_a_bad_key_of_a_number_is_refused(tmp_path, key):
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    with pytest.raises(ValueError, match="number "):
        exporter.numbers({key: "1"})
    assert contents(tmp_path) == {}


def test_numbers_become_macros_in_the_order_of_their_keys(tmp_path):
    Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS).numbers({"b": "2", "a/x": "1"})
    assert (tmp_path / "numbers" / "01_tiny.tex").read_text() == "\\setval{a/x}{1}\n\\setval{b}{2}\n"


def test_a_verdict_with_a_non_finite_number_is_refused(tmp_path):
    exporter = Exporter(tmp_path, notebook="01_tiny", preset="smoke", records=RECORDS)
    with pytest.raises(ValueError, match="JSON"):
        exporter.claims([{"estimate": float("nan")}])


SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


@pytest.mark.parametrize("character", SPECIAL)
def test_every_special_character_of_latex_is_escaped(character):
    assert escape_tex(f"a{character}b") == f"a{SPECIAL[character]}b"


def test_what_has_a_meaning_in_t1_fonts_is_escaped_too():
    # -- would become a dash, << a quotation mark, ' and " curly quotes
    assert escape_tex("--") == "{-}{-}"
    assert escape_tex("<|>") == r"\textless{}\textbar{}\textgreater{}"
    assert escape_tex("\"'`") == r"\textquotedbl{}\textquotesingle{}\textasciigrave{}"
    assert escape_tex("a\nb\tc") == "a b c"


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
@settings(max_examples=200, deadline=None)
def test_escaped_text_holds_no_command_but_those_that_print_a_character(text):
    escaped = escape_tex(text)
    back = escaped
    for character, replacement in sorted(TEX_SPECIAL.items(), key=lambda pair: -len(pair[1])):
        if replacement.startswith("\\text"):
            back = back.replace(replacement, chr(0xE000 + ord(character)))
    commands = re.findall(r"\\.[a-zA-Z]*", back)
    assert all(command[:2] in {"\\{", "\\}", "\\$", "\\&", "\\#", "\\%", "\\_"} for command in commands)
    bare = re.sub(r"\\.", "", back.replace("{-}", "").replace(",{}", ","))
    assert not set(bare) & set("\\{}$&#%_^~")


@pytest.mark.parametrize(
    "text", [r"\input{/etc/passwd}", r"\write18{id}", "^^5cinput", "$x$", "a%b", "#1", "}\\end{document}"]
)
def test_a_table_prints_hostile_text_and_executes_none_of_it(text):
    latex = to_latex(pd.DataFrame({text: [text]}))
    assert text not in latex.replace("\\#", "")
    assert latex.count(escape_tex(text)) == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None or shutil.which("pdftotext") is None, reason="needs TeX")
def test_all_printable_characters_come_back_from_the_pdf(tmp_path):
    printable = "".join(map(chr, range(33, 127)))
    lines = [printable[k : k + 10] for k in range(0, len(printable), 10)]
    body = "\\par ".join(escape_tex(line) for line in lines)
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp,lmodern}\\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\\ttfamily {body}\\end{{document}}")
    command = ["pdflatex", "-interaction=batchmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    printed = subprocess.run(
        ["pdftotext", "-layout", "t.pdf", "-"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert "".join(printed.split()).startswith(printable)


def test_a_table_has_booktabs_rules_and_no_index():
    latex = to_latex(pd.DataFrame({"name": ["a"], "value": ["1"]}))
    assert latex.split("\n")[:2] == [r"\begin{tabular}{lr}", r"\toprule"]
    assert "name & value \\\\" in latex
    assert "\n0 &" not in latex


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (1.2345, 3, "1.23"),
        (0.0087178, 2, "0.0087"),
        (12345.6, 3, "12346"),
        (123456.0, 2, "1.2e+05"),
        (0.00001, 2, "1.0e-05"),
        (-2.5, 2, "-2.5"),
        (float("inf"), 2, "inf"),
    ],
)
def test_significant_digits_by_hand(value, digits, text):
    assert significant(value, digits) == text


def test_an_interval_without_ends_is_an_estimate_alone():
    assert with_interval(1.0, 0.5, 1.5) == "1.000 [0.500, 1.500]"
    assert with_interval(1.0, float("-inf"), float("inf")) == "1.000"


def test_a_failing_disk_leaves_the_last_good_figure(tmp_path, monkeypatch):
    export(tmp_path)
    before = contents(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export(tmp_path, preset="small")
    assert contents(tmp_path) == before


def test_the_commit_is_twelve_digits_or_says_unknown():
    assert re.fullmatch(r"[0-9a-f]{12}\+?|unknown", commit())
