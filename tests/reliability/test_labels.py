"""Labels made of every metacharacter: the report and the site build, show them as text and run nothing."""

import json
import random
import shutil
import subprocess
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest

from regrad.pipeline import paper
from regrad.pipeline.site import Builder
from regrad.published import SET
from regrad.report.latex import escape_tex

pytestmark = pytest.mark.reliability
ROOT = Path(__file__).parents[2]
COUNT = 2200
HOSTILE = [
    r"\input{/etc/passwd}", r"\write18{id}", r"\end{document}", "%", "$", "{", "}", "\\", "^^5c", ",,", "--", "---",
    "``", "''", "<<", ">>", "?`", "!`", "#1", "~", "&", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}", "{% raw %}", "]]>", "&lt;", "a\nb", "a\tb", "fi", "ffl",
]  # fmt: skip
ALPHABET = "".join(map(chr, range(32, 127))) + "\n\t" + "éüßñÅø·" + "\\{}$&#%_^~<>'\"`-," * 4


def labels():
    draw = random.Random(0)
    drawn = ["".join(draw.choice(ALPHABET) for _ in range(draw.randint(1, 14))) for _ in range(COUNT)]
    return HOSTILE + drawn


def squeezed(text):
    """The characters that ink shows, ligatures taken apart."""
    return "".join(unicodedata.normalize("NFKC", text).split())


@pytest.mark.skipif(not (paper.tex_is_there() and shutil.which("pdftotext")), reason="needs latexmk and pdftotext")
def test_thousands_of_labels_are_typeset_as_they_are(tmp_path, figure):
    preamble = (ROOT / "paper" / "report.tex").read_text().partition(r"\begin{document}")[0]
    lines = [f"\\noindent\\mbox{{Q{k}Q {escape_tex(text)} Z{k}Z}}\\par" for k, text in enumerate(labels())]
    body = "\\begin{document}\\pagestyle{empty}\\onecolumn\n" + "\n".join(lines) + "\n\\end{document}\n"
    (tmp_path / "report.tex").write_text(preamble + body)
    paper.typeset(tmp_path)
    done = subprocess.run(
        ["pdftotext", "-raw", "-enc", "UTF-8", "report.pdf", "-"], cwd=tmp_path, capture_output=True, text=True
    )
    printed = squeezed(done.stdout)
    wrong = [text for k, text in enumerate(labels()) if f"Q{k}Q{squeezed(text)}Z{k}Z" not in printed]
    assert len(wrong) == 0, wrong[:5]
    figure("fuzzed labels into LaTeX", ">= 2,000, all build, text round-trips", f"{len(labels())}, 0 changed")


class Cells(HTMLParser):
    """All text of a page, and all its elements with their attributes' names."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.elements = "", []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def page_of(folder, texts):
    """The index page of a ledger whose sentences and reasons are ``texts``."""
    rows = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
    claims = [
        {**rows[k % len(rows)], "id": f"X{k}", "sentence": f"Q{k}Q{text}Z{k}Z", "why": text}
        for k, text in enumerate(texts)
    ]
    facts = {"preset": "smoke", "device": "cpu", "commit": texts[0]}
    Builder(folder, folder, facts, None).index(claims, {}, ())  # what Sphinx puts into its page as it is
    page = Cells()
    page.feed((folder / "index.html").read_text())
    return page


def test_thousands_of_labels_are_shown_by_the_site_as_they_are(tmp_path, figure):
    page, plain = page_of(tmp_path / "a", labels()), page_of(tmp_path / "b", ["x"] * len(labels()))
    assert page.elements == plain.elements, "a label became an element"
    text = page.text.replace("\r", "\n")
    wrong = [label for k, label in enumerate(labels()) if f"Q{k}Q{label}Z{k}Z" not in text]
    assert len(wrong) == 0, wrong[:5]
    figure("fuzzed labels into HTML", ">= 2,000, all build, text round-trips", f"{len(labels())}, 0 changed")
