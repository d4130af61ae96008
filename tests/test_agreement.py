"""README, report, site and the published claims say the same, to the digit."""

import html
import json
import re
from pathlib import Path

import pytest

from regrad.claims.plain import estimate_text
from regrad.pipeline import site
from regrad.published import SET
from regrad.report.latex import escape_tex
from regrad.report.ledger import to_latex

ROOT = Path(__file__).parents[1]
CLAIMS = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
NUMBER = re.compile(r"-?(?:\d+(?:,\d{3})+|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+)")


def figures(claim):
    """Estimate and both ends of the interval, as every place prints them."""
    if claim["estimate"] is None:
        return []
    numbers = [value for value in (claim["estimate"], *claim["interval"]) if value is not None]
    decimals = next(d for d in range(9) if max(map(abs, numbers)) * 10**d >= 99.95)
    return [f"{value:.{decimals}f}" for value in numbers]


def lines_by_claim(lines):
    """Lines of a table by the identifier in their first cell."""
    ids = {claim["id"] for claim in CLAIMS}
    # In the report an identifier is where links to its claim lead.
    first = (re.split(r"[|&]", line.strip().strip("|"))[0].strip().replace("{-}", "-") for line in lines)
    cells = {line: re.sub(r"^\\hypertarget{.*?}{(.*)}$", r"\1", cell) for line, cell in zip(lines, first, strict=True)}
    return {name: line for line, name in cells.items() if name in ids}


def plain(text):
    """Text of HTML without tags; a typographic minus is a minus."""
    return html.unescape(re.sub(r"<[^>]*>", " ", text)).replace("\N{MINUS SIGN}", "-").replace("\xa0", " ")


@pytest.fixture(scope="module")
def readme():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    return lines_by_claim(text.split("<!-- verdicts:begin -->")[1].split("<!-- verdicts:end -->")[0].splitlines())


@pytest.fixture(scope="module")
def latex():
    return lines_by_claim(to_latex(CLAIMS).splitlines())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    facts = {"preset": "small", "device": "cpu", "commit": "0" * 12}
    site.Builder(folder, folder, facts, None).index(CLAIMS, {}, ())  # what Sphinx puts into its page as it is
    rows = re.findall(r"<tr\b.*?</tr>", (folder / "index.html").read_text(encoding="utf-8"), re.S)
    found = {}
    for claim in CLAIMS:
        first = re.compile(rf"^\W*{re.escape(claim['id'])}(?![\w-])")
        found[claim["id"]] = next((text for text in map(plain, rows) if first.search(text)), "")
    return found


def test_every_published_claim_stands_in_all_three_places(readme, latex, page):
    ids = [claim["id"] for claim in CLAIMS]
    assert [name for name in ids if name not in readme] == []
    assert [name for name in ids if name not in latex] == []
    assert [name for name in ids if not page[name]] == []


def test_the_verdict_is_the_same_word_everywhere(readme, latex, page):
    for claim in CLAIMS:
        assert f"**{claim['verdict']}**" in readme[claim["id"]]
        assert escape_tex(claim["verdict"]) in latex[claim["id"]]
        assert claim["verdict"] in " ".join(page[claim["id"]].split())


def test_estimate_and_interval_are_the_same_digits_everywhere(readme, latex, page):
    for claim in CLAIMS:
        expected = figures(claim)
        for place in (readme, latex, page):
            found = NUMBER.findall(place[claim["id"]].replace("{", "").replace("}", ""))
            assert [value for value in expected if value not in found] == [], (claim["id"], place[claim["id"]])
        if expected:
            assert estimate_text(claim) in readme[claim["id"]]
