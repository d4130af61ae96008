"""The verdict board: what it says, where a bar lies, and that no claim is lost on it."""

import json
import re
import tomllib
from itertools import cycle
from pathlib import Path

import pytest

from regrad.claims.load import load
from regrad.published import SET
from regrad.report.board import DARK, LIGHT, fig_board, picture
from regrad.report.board_rows import balanced, bar, block, room, shows
from regrad.studies.catalogue import PAPERS

ROOT = Path(__file__).parents[2]
PAIRED = {"kind": "paired", "direction": "lower", "margin": 0.01}


def row(name="C", verdict="reproduced", **fields):
    plain = {
        "id": name, "paper": "sgg", "short": "a sentence", "verdict": verdict, "estimate": -0.02, "preset": "small",
        "interval": [-0.03, -0.01], "detectable": 0.005, "test": PAIRED, "parameters": [13_392, 115_008],
        "presets": {"small": 5}, "gates": [], "waits": "",
    }  # fmt: skip
    return plain | fields


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_bar_is_in_margins_and_right_is_for_the_claim():
    lower = bar(row())  # two margins below where "lower" is claimed
    assert (lower.at, lower.low, lower.high, lower.seen) == pytest.approx((2, 1, 3, 0.5))
    higher = bar(row(test=PAIRED | {"direction": "higher"}))
    assert (higher.at, higher.low, higher.high) == pytest.approx((-2, -3, -1))
    open_end = bar(row(interval=[-0.03, None]))
    assert (open_end.low, open_end.high) == (-float("inf"), pytest.approx(3))
    assert bar(row(estimate=None, interval=None)) is None


def test_a_cost_shows_how_far_it_stays_inside_its_range():
    assert room([0.0, 1.1], 1.0) == pytest.approx(1)
    assert room([0.0, 1.1], 1.2) == pytest.approx(-1)
    assert room([1.0, 1.5], 0.9) == pytest.approx(-0.2)  # below the range is outside it too
    cost = bar(row(estimate=1.0, interval=[0.9, 1.05], test={"kind": "ratio", "range": [0.0, 1.1]}))
    assert (cost.at, cost.low, cost.high, cost.tie) == (pytest.approx(1), pytest.approx(0.5), pytest.approx(2), False)


def test_what_was_not_tested_is_one_paragraph_that_says_what_it_needs():
    shut = row("D", "not tested", estimate=None, gates=[{"open": False}])
    larger = row("E", "not tested", estimate=None, presets={"paper": 5})
    late = row("F", "not tested", estimate=None, gates=[{"open": False}], waits="3 of 4 runs are missing")
    items = block("SGG", "1 B", [row(), shut, late, late, late, larger, larger], 3.3)
    said = " ".join(items[-1].lines)
    assert said == (
        "not tested (6): 3 need runs that are not published yet; 2 need a larger preset than this; "
        "1 needs a base that is trained well enough"
    )
    assert items[0].lines == ["SGG", "ours: 13 k to 115 k parameters; theirs: 1 B"]


def test_columns_keep_papers_whole_and_end_at_about_the_same_height():
    blocks = [block(str(n), "x", [row()] * n, 3.3) for n in (9, 1, 2, 1)]
    left, right = balanced(blocks)
    assert [item.lines[0] for item in left if item.heading] == ["9"]
    assert [item.lines[0] for item in right if item.heading] == ["1", "2", "1"]
    left, right = balanced([block(str(n), "x", [row()] * n, 3.3) for n in (6, 4, 10, 8)])
    assert [item.lines[0] for item in left if item.heading] == ["6", "8"]
    assert [item.lines[0] for item in right if item.heading] == ["4", "10"]
    assert balanced([]) == ([], [])


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("columns", [1, 2])
def test_every_decided_claim_stands_on_the_board_and_nothing_is_smaller_than_seven_points(theme, columns):
    rows = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
    figure = fig_board(rows, PAPERS, theme=theme, columns=columns)
    said = texts(figure)
    assert {row["short"] for row in rows if row["verdict"] != "not tested"} <= set(said)
    for verdict in {row["verdict"] for row in rows}:
        assert f"{sum(row['verdict'] == verdict for row in rows)} {verdict}" in said
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 7


def test_a_claim_of_a_paper_that_no_study_bears_has_its_place_under_its_key():
    said = texts(fig_board([row(), row("OWN-1", paper="own", short="")], PAPERS))
    assert "own" in said
    assert any("no scale printed" in text for text in said)


@pytest.mark.parametrize("columns", [1, 2])
def test_nothing_is_written_beyond_the_edge(columns):
    decided = cycle(["reproduced", "inconclusive", "not reproduced"])
    claims = zip(load(ROOT / "paper" / "claims.toml"), decided, strict=False)
    rows = [row(claim.id, verdict, short=claim.short) for claim, verdict in claims]
    figure = fig_board(rows, PAPERS, columns=columns)
    figure.draw_without_rendering()
    width = figure.get_size_inches()[0] * figure.dpi
    beyond = [t.get_text() for t in figure.axes[0].texts if t.get_window_extent().x1 > width]
    assert beyond == []
    assert width < 4 * figure.dpi or columns == 2  # on a phone seven points are ten pixels


def test_the_pictures_of_the_readme_show_the_published_verdicts():
    rows = json.loads((ROOT / "results" / "reference" / SET / "claims.json").read_text())["claims"]
    for name in ("board-light.svg", "board-dark.svg"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert shows(rows) in text
        assert not re.search(r"\d{4}-\d{2}-\d{2}", text)  # no date: equal verdicts, equal bytes
    assert picture(rows, PAPERS, LIGHT) == picture(rows, PAPERS, LIGHT)


def test_every_claim_has_a_short_sentence_and_a_longer_one_is_refused():
    claims = load(ROOT / "paper" / "claims.toml")
    assert [claim.id for claim in claims if not claim.short] == []
    assert len({claim.short for claim in claims}) == len(claims)
    entry = tomllib.loads((ROOT / "paper" / "claims.toml").read_text())["claim"][0]
    with pytest.raises(ValueError, match="13 words; allowed: at most 12"):
        type(claims[0])(**(entry | {"short": "word " * 13, "requires": []}))
