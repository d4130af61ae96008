"""A claim is judged only where its base is a trained network; and the ledger's tasks say what that is."""

from pathlib import Path

import pytest

from regrad.claims.evaluate import evaluate
from regrad.claims.load import load_ledger, parse_ledger
from regrad.claims.plain import as_rows
from regrad.claims.tasks import Task
from regrad.report.benchmarks import read

ROOT = Path(__file__).parents[2]
LONGER = read(ROOT / "results/reference/benchmarks/competent-cpu.json")

TASK = {
    "name": "news", "metric": "test_loss", "better": "lower", "unit": "nats", "presets": ["small"], "floor": 2.6,
    "floor_by": "bigram", "untrained": 5.5, "competent": 1.8, "competent_by": "a source", "bar": 2.4,
}  # fmt: skip
TEST = {"kind": "paired", "metric": "test_loss", "unit": "nats", "direction": "lower", "margin": 0.1,
        "treatment": ["new"], "control": ["old"]}  # fmt: skip
CLAIM = dict.fromkeys(["paper", "sentence", "quotation", "place", "study", "falsified"], "x") | {
    "id": "X", "source": "primary", "presets": {"small": 2}, "test": [TEST],
    "requires": [{"task": "news", "arm": "old"}],
}  # fmt: skip


def ledger(task=(), claim=()):
    return parse_ledger({"task": [TASK | dict(task)], "claim": [CLAIM | dict(claim)]})


def rows(base, shift=-0.5):
    """Two arms whose difference alone would be a verdict."""
    ends = {"old": (base, base + 0.001), "new": (base + shift, base + shift + 0.002)}
    return [
        {"arm": arm, "seed": seed, "metric": "test_loss", "diverged": False, "value": value}
        for arm, values in ends.items()
        for seed, value in enumerate(values)
    ]


def verdict(rows_, preset="small", **task):
    return evaluate(ledger(task).claims[0], rows_, preset=preset, device="cpu")


def test_a_claim_whose_base_beats_the_bar_is_judged_and_its_row_says_by_how_much():
    decided = verdict(rows(2.3, -0.49))
    assert decided.verdict == "reproduced"
    (gate,) = as_rows([decided])[0]["gates"]
    assert gate == {k: v for k, v in TASK.items() if k != "presets"} | {
        "arm": "old", "value": pytest.approx(2.3005), "n": 2, "open": True,
    }  # fmt: skip


@pytest.mark.parametrize("base", [2.4, 2.5])
def test_a_claim_whose_base_does_not_is_not_tested_and_says_the_three_values(base):
    decided = verdict(rows(base))
    assert decided.verdict == "not tested"
    assert decided.why == (f"its base (old, {base:.3g} nats) does not beat the bar of news (2.4; floor 2.6, bigram)")


def test_where_high_is_good_the_bar_is_a_lower_limit():
    high = {"better": "higher", "floor": 0.1, "competent": 0.9, "bar": 0.5}
    assert verdict(rows(0.6), **high).verdict == "reproduced"
    assert verdict(rows(0.4), **high).verdict == "not tested"


def test_one_diverged_run_of_the_base_shuts_the_gate():
    some = rows(2.0)
    some[0] |= {"diverged": True, "value": None}
    decided = verdict(some)
    assert (decided.verdict, decided.gates[0].n) == ("not tested", 2)
    assert "(old, a run of which failed)" in decided.why
    assert as_rows([decided])[0]["gates"][0]["value"] is None  # strict JSON has no infinity


def test_a_base_without_runs_or_data_without_a_floor_shuts_the_gate():
    assert verdict([row for row in rows(2.0) if row["arm"] == "new"]).why == "no run with test_loss of its base old"
    assert verdict(rows(2.0), presets=["full"]).why == ("the floor of news is not known for the data of preset small")


def test_a_preset_that_is_too_small_is_said_before_the_gate():
    assert "below what the claim requires" in verdict(rows(9.0), preset="full").why


@pytest.mark.parametrize(
    ("task", "claim", "words"),
    [
        ({"bar": 2.5}, {}, "task news: bar = 2.5; allowed: at most 2.4, 25% of the way to competent"),
        ({"competent": 2.7}, {}, "task news: competent = 2.7; allowed: better than the floor, 2.6"),
        ({"flor": 1.0}, {}, "task news: unknown key 'flor'; did you mean 'floor'"),
        ({}, {"requires": [{"task": "nevs", "arm": "old"}]}, "X: requires: unknown task 'nevs'; did you mean 'news'"),
        ({}, {"requires": [{"task": "news"}]}, "claim X: 'requires 1 arm' is missing"),
        ({}, {"requires": "news"}, "claim X: requires = 'news'"),
    ],
)  # fmt: skip
def test_a_faulty_task_or_requirement_is_refused_in_one_line(task, claim, words):
    with pytest.raises(ValueError, match=words.replace("[", r"\[")) as caught:
        ledger(task, claim)
    assert "\n" not in str(caught.value)


def test_higher_is_better_turns_the_bars_limit_round():
    with pytest.raises(ValueError, match=r"at least 0\.3"):
        Task(**TASK | {"better": "higher", "floor": 0.1, "competent": 0.9, "bar": 0.29})


@pytest.mark.parametrize("task", load_ledger(ROOT / "paper" / "claims.toml").tasks, ids=lambda task: task.name)
def test_the_ledgers_competent_values_are_those_of_the_longer_runs(task):
    found = LONGER[task.name]
    best, sign = found["lengths"][str(found["chosen"])], 1 if task.better == "higher" else -1
    if task.competent_by.startswith(f"{found['base']}, "):
        assert task.competent_by == f"{found['base']}, {best['steps']:,} steps"
        assert task.competent == pytest.approx(best["value"], rel=1e-3)
    else:  # a source beyond what our bases reach, or the words that none of them beats the floor
        assert sign * best["value"] < sign * task.competent
    # Chance, or the logarithm of the vocabulary, which one network meets but roughly; a silent one has none.
    if found["untrained"] is not None:
        assert task.untrained == pytest.approx(found["untrained"], abs={"nats": 0.1, "points": 10}.get(task.unit, 0.1))
