"""JSON, LaTeX and Markdown of the same verdicts agree and execute nothing."""

import json
import math
import re
from dataclasses import replace

from regrad.claims.evaluate import evaluate_all
from regrad.claims.kinds.outcome import alike
from regrad.claims.plain import as_rows
from regrad.claims.schema import Claim
from regrad.report.ledger import to_latex, to_markdown

ROWS = {
    "s": [
        {"arm": arm, "seed": seed, "value": value, "diverged": False}
        for arm, values in {"new": [1, 1, 1, 1, 1], "old": [2, 3, 4, 3, 3]}.items()
        for seed, value in enumerate(values)
    ],
    "diverged": [
        {"arm": arm, "seed": seed, "value": value, "diverged": value is None}
        for arm, value in {"new": None, "old": 1.0}.items()
        for seed in range(6)
    ],
}


def claim(name, study, sentence="a sentence"):
    test = {
        "kind": "paired", "metric": "m", "unit": "nats", "direction": "lower", "margin": 0.1,
        "treatment": ["new"], "control": ["old"],
    }  # fmt: skip
    words = dict.fromkeys(["paper", "quotation", "place", "falsified"], "x")
    return Claim(id=name, source="primary", presets={"small": 5}, study=study, sentence=sentence, test=[test], **words)


def plain(*claims):
    label = "at 100 k parameters, 1 M tokens"
    verdicts = evaluate_all(claims, ROWS, preset="small", device="cpu")
    return as_rows([replace(verdict, label=label) for verdict in verdicts])


def test_json_is_strict_and_has_what_a_claim_needs():
    rows = plain(claim("A", "s"), claim("B", "diverged"), claim("D", "missing"))
    again = json.loads(json.dumps(rows, allow_nan=False))
    for row in again:
        assert {"id", "paper", "verdict", "estimate", "interval", "n", "preset", "device"} <= set(row)
    assert [row["verdict"] for row in again] == ["reproduced", "not reproduced", "not tested"]
    assert again[0]["estimate"] == -2
    assert again[0]["interval"][0] < again[0]["interval"][1] < 0
    assert again[0]["margin"] == 0.1
    assert again[1]["estimate"] is again[1]["interval"] is None
    assert again[1]["diverged"] == {"new": 6}
    assert len(again[0]["tests"]) == 1


def test_an_unbounded_interval_is_null_in_json_and_left_out_in_tables():
    rows = ROWS | {"s": [row if row["seed"] == 0 else row | {"diverged": True} for row in ROWS["s"]]}
    found = as_rows(evaluate_all([claim("A", "s")], rows, preset="small", device="cpu"))
    json.dumps(found, allow_nan=False)
    assert found[0]["interval"] == [None, None]
    assert "| -1.00 nats |" in to_markdown(found)


def test_the_same_figures_stand_in_json_markdown_and_latex():
    rows = plain(claim("A", "s"))
    assert "-2.00 [-2.88, -1.12] nats" in to_markdown(rows)
    assert "$-2.00$ $[-2.88, -1.12]$ nats" in to_latex(rows)
    assert "**reproduced** (at 100 k parameters, 1 M tokens)" in to_markdown(rows)
    assert "(at 100 k parameters, 1 M tokens; second look)" in to_markdown([rows[0] | {"look": 10}])
    assert "At 100 k parameters, 1 M tokens; second look." in to_latex([rows[0] | {"look": 10}])


def test_latex_escapes_what_a_ledger_or_an_arm_may_contain():
    rows = plain(claim("A", "s"))
    hostile = rows[0] | {"sentence": r"100 % of \input{/etc/passwd} & $x_1^2$ # ~ |", "unit": "50%_"}
    latex = to_latex([hostile])
    assert r"\input" not in latex
    assert r"\textbackslash{}input\{/etc/passwd\}" in latex
    body = latex.split(r"\endhead")[1].split(r"\bottomrule")[0].strip()
    assert len(re.findall(r"(?<!\\)&", body)) == 5
    assert body.count("\n") == 0


def test_markdown_cells_cannot_break_the_table_or_carry_markup():
    table = to_markdown(plain(claim("A", "s", sentence="a | b\n<script>")))
    assert "a \\| b &lt;script>" in table
    assert len(table.strip().splitlines()) == 3


def test_equal_verdicts_give_equal_bytes():
    claims = [claim("A", "s"), claim("B", "diverged")]
    assert to_latex(plain(*claims)) == to_latex(plain(*claims))
    assert json.dumps(plain(*claims)) == json.dumps(plain(*claims))


def test_numbers_that_stand_side_by_side_have_equal_decimals():
    assert alike(-0.00273, -0.00547, 5.69e-06) == ["-0.00273", "-0.00547", "0.00001"]
    assert alike(-0.00273, -0.00547, -1e-9) == ["-0.00273", "-0.00547", "0.00000"]
    assert alike(156.2, 12.04, 300.0) == ["156", "12", "300"]
    assert alike(0.9996, None, math.inf) == ["1.00", "none", "inf"]
    assert alike(0.0, None) == ["0.00", "none"]
