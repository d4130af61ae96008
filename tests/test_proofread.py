"""What a stranger would stumble over is found: in the report's pages, in its letters, on the site."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from regrad.claims.load import load
from regrad.pipeline import paper, proofread
from regrad.published import SET
from regrad.report import words
from regrad.report.findings import list_of
from regrad.report.latex import escape_tex, printed
from regrad.report.ledger import to_latex
from regrad.report.reasons import capital, figure, measured, reason, waiting
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Arm

ROOT = Path(__file__).parents[1]
TIE = "\N{NO-BREAK SPACE}"
CLAIMS = load(ROOT / "paper" / "claims.toml")
PUBLISHED = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
needs_tex = pytest.mark.skipif(
    not paper.tex_is_there() or shutil.which("pdftotext") is None, reason="needs latexmk, pdflatex and poppler"
)


def typeset(folder, body, options="10pt"):
    (folder / "report.tex").write_text(
        rf"\documentclass[{options}]{{article}}\usepackage[T1]{{fontenc}}\usepackage{{lmodern,caption,multicol}}"
        rf"\begin{{document}}{body}\end{{document}}"
    )
    paper.typeset(folder)
    return folder / "report.pdf"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the arm micro_adam_var ends lower", ["code key 'micro_adam_var'"]),
        ("adamw+sgg:3 minus adamw:3", ["code key 'adamw:3'", "code key 'adamw+sgg:3'"]),
        ("proved by tests/scaling/test_x.py::test_the_loss", ["test id 'tests/scaling'", "test id '::test_the_loss'"]),
        ("against V0, and E1L", ["code key 'E1L'", "code key 'V0'"]),
        ("schedule=0.999 and test_loss", ["code key 'schedule=0.999'", "code key 'test_loss'"]),
        ("Adam, AdamW and a test of 3 seeds; c = 4; group 8; ResNet-20; p = 0.03; a gain of 0.1", []),
    ],
)
def test_a_code_key_or_a_test_id_in_prose_is_found(text, found):
    assert sorted(proofread.codes_in(text)) == sorted(found)


def test_a_key_of_the_ledger_and_left_over_markup_are_found_before_the_ledger():
    pages = [
        "(C1b, our control), arms of C4b to C6, SGG-C10",
        "one scalar (T1, T3), LR times b^n, E[gbar²]",
        "a trainer on C4; decoder B64 T32; ResNet-20; 95% of V4",
        "J\nLedger of verdicts\nC3b",
    ]
    found = [line.rpartition(" ")[2].strip("'") for line in proofread.claim_keys(proofread.prose(pages))]
    assert found == ["C1b", "C4b", "C6", "SGG-C10", "T1", "T3", "b^n", "gbar"]


def test_no_arm_s_label_in_figures_and_tables_is_a_key():
    arms = [arm for study in STUDIES if study.trains for arm in arms_of(study)]
    assert len(arms) > 100
    assert {arm.name: found for arm in arms if (found := proofread.codes_in(arm.label))} == {}


def arms_of(study):
    """Every arm that a study's room defines, wherever it keeps them."""
    room = vars(import_module(f"regrad.studies.{study.name}.arms"))
    pending, found = list(room.values()), []
    while pending:
        value = pending.pop()
        if isinstance(value, Arm):
            found.append(value)
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, tuple | list):
            pending += value
    return found


def test_every_arm_metric_and_task_of_the_ledger_has_words():
    gates = {gate.arm for claim in CLAIMS for gate in claim.requires}
    assert {arm for claim in CLAIMS for arm in claim.arms} | gates <= set(words.ARMS)
    for name in {test.metric for claim in CLAIMS for test in claim.test if hasattr(test, "metric")}:
        kind, _, task = name.partition("/")
        assert name in words.METRICS or (kind in words.METRICS and task in words.TASKS), name


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["id"])
def test_every_reason_is_a_sentence_without_a_code(row):
    said = reason(row)
    assert proofread.codes_in(said) == []
    assert said[0].isupper()
    assert said.endswith(".")
    assert "-0" not in said  # a hyphen is no minus


def test_a_reason_says_in_words_which_way_and_how_the_verdict_follows():
    row = {
        "verdict": "inconclusive", "test": {"kind": "paired", "margin": 0.01, "direction": "lower"}, "unit": "nats",
        "metric": "test_loss", "estimate": 0.0922, "interval": [-0.01, 0.13], "arms": ["ema", "batch"], "n": 5,
        "by_p": True, "detectable": 0.05, "why": "", "p": 0.01, "needed_n": None,
    }  # fmt: skip
    ends = f"The sign of the moving average ends 0.092 nats above the sign of the batch mean [−0.010,{TIE}0.130]"
    assert reason(row) == f"{ends}: not decided; 5 seeds could show 0.05 or more, and the margin is 0.01."
    assert reason(row | {"verdict": "reproduced"}) == f"{ends}, as claimed."
    assert reason(row | {"verdict": "not reproduced"}) == f"{ends}, against the claim."
    short = row | {"verdict": "not reproduced", "by_p": False}
    assert reason(short | {"why": "…: a tie: equivalent"}) == f"{ends}: a tie, inside the margin of 0.01."
    out = reason(short | {"why": "…: a gain as large as the margin is ruled out"})
    assert out == f"{ends}: a gain as large as the margin of 0.01 is ruled out."
    # What no p decides and is no tie.
    exact = reason(row | {"verdict": "not reproduced", "by_p": False, "p": None})
    assert exact == f"{ends}, against the claim."
    below = reason(row | {"estimate": -0.0922, "verdict": "not reproduced"})
    assert "nats below" in below
    assert below.endswith("but another part of the claim speaks against it.")


def test_a_reason_names_the_step_that_reverses_a_trend_and_gives_shares_in_points():
    row = {
        "verdict": "not reproduced", "test": {"kind": "trend", "margin": 0.01, "direction": "lower"}, "unit": "nats",
        "metric": "test_loss", "estimate": -0.171, "interval": [-0.2, -0.14], "arms": ["example", "batch", "ema"],
        "n": 5, "by_p": True, "detectable": 0.05, "p": 0.01, "needed_n": None,
        "why": "change from example to ema: …: the step batch to ema reverses the claim by more than the margin",
    }  # fmt: skip
    said = reason(row)
    assert "falls by 0.171 nats" in said
    assert said.endswith("but from the sign of the batch mean to the sign of the moving average it goes the other way "
                         "by more than the margin.")  # fmt: skip
    first = reason(row | {"why": "…: the arm predicted best ends worse than another by more than the margin"})
    assert first.endswith("but another arm than the one predicted ends best, by more than the margin.")
    paired = {"kind": "paired", "margin": 0.005, "direction": "higher"}
    shares = {"test": paired, "unit": "accuracy", "metric": "test_accuracy", "verdict": "inconclusive"}
    found = reason(row | shares | {"estimate": -0.0135, "interval": [-0.027, None], "detectable": 0.0182})
    assert "is 1.35 points lower than" in found
    assert f"[−2.70,{TIE}∞]: not decided; 5 seeds could show 1.82 or more, and the margin is 0.5." in found


def test_a_reading_links_its_proof_which_the_ledger_names():
    row = next(row for row in PUBLISHED if row["verdict"] == "refuted by construction")
    link = rf"\hyperlink{{claim:{row['id']}}}"
    assert list_of([row]).count(link) == 2  # from its sentence, and as its proof
    ledger = to_latex([row])
    assert rf"\hypertarget{{claim:{row['id']}}}" in ledger
    assert row["test"]["proof"].rpartition("/")[0] in ledger.replace(r"\allowbreak{}", "").replace(r"\_", "_")
    ran = next(row for row in PUBLISHED if row["verdict"] == "reproduced")
    assert "Proof" not in list_of([ran]) + to_latex([ran])


def test_a_claim_that_was_not_tested_says_what_it_lacks():
    gate = {"arm": "adam", "open": False, "value": 2.66, "bar": 2.34, "floor": 2.533, "unit": "nats"}
    row = {"preset": "small", "presets": {"small": 5}, "gates": [gate], "waits": "", "absent": False, "why": ""}
    assert waiting(row) == (
        "Its base, Adam, reaches 2.66 nats; it counts as trained from 2.34 (a trivial predictor has 2.53)."
    )
    assert waiting(row | {"presets": {"paper": 5, "medium": 5}}) == "It needs preset medium."
    assert waiting(row | {"gates": []}).startswith("The hardware")
    never = {"gates": [], "why": "no run of adam or micro_adam diverged: nothing to compare"}
    never |= {"arms": ["adam", "micro_adam"]}
    assert waiting(row | never) == "No run of Adam or per-example Adam (MicroAdam) diverged: nothing to compare."
    waits = never | {"why": f"{never['why']}; the next look's seeds have not all run"}
    assert waiting(row | waits) == waiting(row | never)
    assert waiting(row | {"absent": True}) == "Runs that would decide it are missing."
    assert waiting(row | {"absent": True, "waits": "3 of 4 runs are missing"}) == (
        "Its runs are not all published yet: of its study, 3 of 4 runs are missing."
    )


def test_figures_have_a_true_minus_and_three_digits():
    assert (figure(-0.12345), figure(0.0000123), figure(0)) == ("−0.123", "1.23e−05", "0")
    row = {"verdict": "reproduced", "estimate": 0.25, "interval": [None, 0.5], "test": {"kind": "paired"}}
    assert measured(row) == ("0.250", f"[−∞,{TIE}0.500]")
    assert capital("a B") == "A B"
    cells = printed(escape_tex("-0.1 [-0.2, 0.3] 8e-05 GPT-2"))
    assert cells == r"\ensuremath{-}0.1 \mbox{[\ensuremath{-}0.2, 0.3]} 8e\ensuremath{-}5 GPT{-}2"


@needs_tex
def test_small_letters_are_found_and_indices_are_not(tmp_path):
    letters = r"{\fontsize{7}{8}\selectfont seven points} {\fontsize{5}{6}\selectfont too small}"
    numbers = r"{\fontsize{5}{6}\selectfont 0.125}"
    found = proofread.small_text(typeset(tmp_path, rf"letters in ten points, $x_{{i_j}}$ {letters}\par {numbers}"))
    assert [complaint.rpartition(" pt: ")[2] for complaint in found] == ["too small", "0.125"]


@needs_tex
def test_a_page_that_ends_in_its_upper_third_is_found(tmp_path):
    filler = "word " * 300
    body = rf"\begin{{multicols}}{{2}}{filler}\end{{multicols}}\newpage nearly nothing"
    assert proofread.empty_pages(typeset(tmp_path, body), 2) == ["page 2: its last column is under a third full"]


@needs_tex
def test_a_figure_far_from_its_text_and_one_that_nobody_names_are_found(tmp_path):
    picture = r"\begin{minipage}{5cm}\captionsetup{type=figure}\rule{1cm}{1cm}\caption{one}\end{minipage}"
    body = rf"See Figure 1.\newpage two\newpage three {picture}\newpage {picture}"
    texts = proofread.pages(typeset(tmp_path, body))
    assert proofread.far_figures(texts) == [
        "figure 1: on page 3, first named on page 1", "figure 2: the main text never names it",
    ]  # fmt: skip


def test_a_claim_without_its_sentence_is_found_across_line_breaks_and_ligatures():
    claims = [{"id": "A", "sentence": "The ﬁrst claim - it holds."}, {"id": "B", "sentence": "Another."}]
    assert proofread.missing_sentences(["The first\nclaim{-}it", "holds"], claims) == ["claim B: without its sentence"]


def test_broken_and_outside_links_of_a_site_are_found(tmp_path):
    (tmp_path / "there.html").write_text("")
    page = (
        '<a href="there.html#x">a</a><a href="gone.html">b</a><img src="https://x.org/a.png"><a href="#top">c</a>'
        '<b id="top"></b><a href="there.html">d</a>'
    )
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "a.css").write_text("@font-face { src: url('//x.org/a.woff') } b { background: url(a.png) }")
    assert proofread.links(tmp_path) == [
        "index.html: there.html#x names no place of that page",
        "index.html: gone.html is not there",
        "index.html: https://x.org/a.png leads out of the site",
        "a.css: //x.org/a.woff is loaded from outside",
    ]


def test_a_code_key_or_a_test_id_in_the_site_s_prose_is_found_and_what_is_set_as_code_is_none(tmp_path):
    said = (
        "<article><p>adamw+sgg:3, V0, <br>tests/scaling/test_x.py <a href='#'>test_loss</a></p><pre>micro_adam_var"
        "</pre><code>clip-1</code><table class='dataframe'><tr><td>micro_adam</td></tr></table>V4</article>lr=1"
    )
    for name in ("index.html", "06_x.html", "code/x.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(said)
    (tmp_path / "out.html").write_text('<a href="../mine.html">x</a><img src="file:///etc/x.png">')
    (tmp_path.parent / "mine.html").write_text("")
    keys = ["code key 'adamw+sgg:3'", "code key 'test_loss'", "test id 'tests/scaling'"]
    found = sorted(proofread.site(tmp_path))
    assert [line for line in found if line.startswith("06_x")] == [f"06_x.html: {key}" for key in keys]
    letters = [f"code key '{letter}'" for letter in ("V0", "V4")]
    assert [line for line in found if line.startswith("index")] == [f"index.html: {k}" for k in sorted(keys + letters)]
    assert [line for line in found if not line.startswith(("06_x", "index"))] == [
        "out.html: ../mine.html leads out of the site", "out.html: file:///etc/x.png leads out of the site",
    ]  # fmt: skip


def test_a_construction_says_what_its_proof_shows():
    constructions = [claim for claim in CLAIMS if claim.test[0].kind == "construction"]
    assert len(constructions) == len({claim.proved for claim in constructions} - {""})
    assert all(claim.proved == "" for claim in CLAIMS if claim not in constructions)
    row = next(row for row in PUBLISHED if row["verdict"] == "refuted by construction")
    assert reason(row) == row["proved"]


def test_the_appendix_begins_at_its_heading_wherever_the_letter_stands_in_the_page_s_text():
    texts = ["in A dozen words\n", "A\n\nsettings\n\nA dozen words\n\narm", "J  Ledger of verdicts\n", "K"]
    assert (proofread.main_text(texts), proofread.prose(texts)) == (texts[:1], texts[:2])
    assert proofread.main_text(texts[:1]) == texts[:1]
