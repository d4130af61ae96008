"""The ledger as a whole: verdicts counted, power printed, costs added up."""

import pytest

from regrad.claims.evaluate import evaluate_all
from regrad.claims.load import load
from regrad.claims.plain import as_rows
from regrad.report.costs import WATTS, Cost, compute_table
from regrad.report.costs import numbers as cost_numbers
from regrad.report.synthesis import deviation_table, nulls, numbers, power_sentence, power_table, summary
from regrad.report.words import comparison
from regrad.studies.catalogue import PAPERS


def row(name, verdict, paper="sgg", **fields):
    base = {"id": name, "paper": paper, "verdict": verdict, "detectable": None, "margin": None, "needed_n": None}
    return base | {"preset": "small", "n": 5, "unit": "nats", "comparison": "a_b minus c", "source": "primary"} | fields


ROWS = [
    row("A", "reproduced", detectable=0.1, margin=0.01),
    row("B", "inconclusive", detectable=0.3, margin=0.1, needed_n=1913),
    row("C", "inconclusive", detectable=0.06, margin=0.1),
    row("D", "inconclusive", "dgs"),
    row("E", "not tested", "dgs"),
]


def test_what_was_compared_is_told_in_words():
    line = power_table([row("B", "inconclusive", detectable=0.3, margin=0.1) | {"comparison": "S1@resnet20 minus V4"}])
    assert "DGS by its steps on ResNet-20 minus repaired ALSDGC" in line.replace("{-}", "-")
    assert comparison("change from lr~B^0 to lr~B^1") == "change from a fixed learning rate to the linear rule"
    assert comparison("graph over backward") == "the rewritten backward pass over an ordinary backward pass"


def test_verdicts_are_counted_in_one_order_and_absent_kinds_left_out():
    assert summary(ROWS) == "1 reproduced, 3 inconclusive, 1 not tested"
    found = numbers(ROWS, PAPERS)
    assert (found["ledger/claims"], found["ledger/decided"]) == ("5", "4")
    assert found["ledger/dgs"] == "1 inconclusive, 1 not tested"
    assert found["ledger/alsdgc"] == "no claim"
    assert found["ledger/note"] == "{}"
    assert "decides nothing" in numbers([ROWS[4] | {"preset": "smoke"}], PAPERS)["ledger/note"]


def test_power_is_said_of_the_comparisons_left_open_by_hand():
    # Seen over margin: 3 and .6; one of two above 1; median 1.8. D has neither margin nor spread.
    assert [r["id"] for r in nulls(ROWS)] == ["B", "C"]
    assert "Of 2 open claims with a margin, 1 had it below" in power_sentence(ROWS)
    assert "1.8 times the margin" in power_sentence(ROWS)
    table = power_table(ROWS)
    assert r"B & a\_b minus c & nats & 5 & 0.1 & 0.3 & 1,913 \\" in table
    assert r"0.06 & -- \\" in table


def test_without_a_comparison_the_tables_say_so_and_typeset():
    assert "no comparison was left open" in power_sentence([])
    assert r"\multicolumn{7}{@{}l@{}}{nothing at this preset} \\" in power_table([])


def test_every_claim_of_the_ledger_has_its_line_of_deviations(request):
    claims = load(request.config.rootpath / "paper" / "claims.toml")
    rows = as_rows(evaluate_all(claims, {}, preset="smoke", device="cpu"))
    table = deviation_table(rows)
    assert table.count(r" \\") == len(claims) + 1
    assert table.isascii()


def test_costs_by_hand_and_a_shared_run_once_in_the_sum():
    # Two hours on one core: 2 h * 280/64 W * 2 = 17.5 Wh; half an hour on two cores is one core hour: 8.75 Wh.
    long, short = Cost("a", 7200.0, 1, "cpu", False), Cost("b", 1800.0, 2, "cpu", True)
    table = compute_table({"SGG": [long, short, short], "DGS": [long], "Cost": []})
    assert table["study"].tolist() == ["SGG", "DGS", "All, each run once"]
    assert table["runs"].tolist() == ["2", "1", "2"]
    assert table["non-finite"].tolist() == ["1", "0", "1"]
    assert table["core hours"].tolist() == ["3.0", "2.0", "3.0"]
    assert table["Wh"].tolist() == ["26", "18", "26"]
    assert cost_numbers({"x": [long, short]})["compute/watt-hours"] == "26"


def test_a_gpu_counts_by_the_hour_whatever_its_cores():
    assert Cost("a", 3600.0, 16, "cuda", False).watt_hours == pytest.approx(2 * WATTS["cuda"])


def test_nothing_run_costs_nothing():
    assert compute_table({})["runs"].tolist() == ["0"]
    assert cost_numbers({})["compute/core-hours"] == "0"
