"""The sign study's plan in looks: its longer runs, ranks, and that later seeds take no run back. By hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrad.claims.looks import cut
from regrad.claims.tasks import Task
from regrad.studies.sign_placement import figures, tables
from regrad.studies.sign_placement.arms import HEADLINE
from regrad.studies.sign_placement.claims import claim_rows
from regrad.studies.sign_placement.numbers import numbers
from sign_records import LOSS, carried_out

FIRST = carried_out(lambda part, arm: 5)


@settings(max_examples=8, deadline=None)
@given(st.sets(st.sampled_from(sorted(LOSS))))
def test_later_seeds_of_any_arms_take_no_run_back_and_change_no_row_of_the_first_look(wanted):
    records = carried_out(lambda part, arm: 10 if arm in wanted else 5)
    later = [r.spec for r in records if r.spec.key() not in {f.spec.key() for f in FIRST}]
    assert {s.tags["arm"] for s in later} == wanted
    assert all(s.seed >= 5 and s.tags["rank"] == "2" for s in later)
    assert [r.spec.key() for r in cut(records, 5)] == [r.spec.key() for r in FIRST]
    assert claim_rows(cut(records, 5)) == claim_rows(FIRST)


def test_the_places_of_c3_come_first_then_the_rungs_then_longer_runs():
    ranks = {(r.spec.tags["part"], r.spec.tags["arm"]): r.spec.tags["rank"] for r in FIRST}
    assert {rank for (part, arm), rank in ranks.items() if part == "language" and arm in HEADLINE} == {"0"}
    assert ranks["language", "group-4"] == "1"
    assert {rank for (part, _), rank in ranks.items() if part == "budget"} == {"2"}


def test_longer_runs_differ_in_steps_and_are_no_claim_s():
    longer = [r.spec for r in FIRST if r.spec.tags["part"] == "budget"]
    assert {(s.tags["arm"], s.seed, s.steps) for s in longer} == {(a, k, 100) for a in HEADLINE for k in range(3)}
    rates = {r.spec.tags["arm"]: r.spec.optimizer for r in FIRST if r.spec.tags["phase"] == "fresh"}
    assert all(s.optimizer == rates[s.tags["arm"]] for s in longer)
    assert claim_rows([r for r in FIRST if r.spec.tags["part"] != "budget"]) == claim_rows(FIRST)


def test_every_row_names_the_runs_that_it_comes_from():
    there = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in FIRST}
    assert {row["runs"] for row in claim_rows(FIRST)} <= {(run,) for run in there}


def test_the_change_with_the_budget_is_paired_and_drawn_with_the_margin():
    """Example ends 0.4 above EMA, 0.2 with four times the steps; batch stays 0.2 above."""
    found = numbers(FIRST)
    assert (found["sign/longer/steps"], found["sign/longer/seeds"]) == ("100", "3")
    assert found["sign/example/longer/gap"].startswith("0.200")
    assert found["sign/example/longer/change"].startswith("-0.200")
    assert found["sign/batch/longer/change"].startswith("0.000")
    axis = figures.fig_scale(FIRST, 0.01).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["25", "100"]
    assert len(axis.containers) == 4
    assert axis.patches[0].get_extents().height > 0


def test_the_results_table_has_a_column_for_the_larger_budget():
    table = tables.results_table(FIRST).set_index("placement")["at 100 steps"]
    assert table["sign of each example"].startswith("0.200")
    assert table["sign of the batch mean"].startswith("0.200")
    assert list(table[["sign of 4-example means", "sign of the moving average"]]) == ["", ""]


TASK = Task(
    name="x", metric="test_loss", unit="nats", presets=("small",), floor=2.53, floor_by="x", untrained=5.5,
    competent=1.8, competent_by="x", bar=2.34,
)  # fmt: skip


def test_the_floor_the_bar_and_a_competent_value_are_drawn_and_printed():
    for draw in (figures.fig_learning_rates, figures.fig_curves, figures.fig_dose):
        drawn = [float(line.get_ydata()[0]) for line in draw(FIRST, [TASK]).axes[0].lines[-3:]]
        assert sorted(drawn) == [1.8, 2.34, 2.53]
    last = tables.results_table(FIRST, [TASK]).iloc[-1]
    assert (last["placement"], last["test loss [95 %]"], last["LR"]) == (
        "floor, bar, competent",
        "2.53, 2.34, 1.80",
        "",
    )


def test_one_budget_has_no_change():
    only = [r for r in FIRST if r.spec.tags["part"] != "budget"]
    assert not any("longer" in key for key in numbers(only))
    assert not any("steps" in column for column in tables.results_table(only).columns)
    assert [text.get_text() for text in figures.fig_scale(only, 0.01).axes[0].get_xticklabels()] == ["25"]
    assert float(numbers(only)["sign/example/gap"].split()[0]) == pytest.approx(0.4)
