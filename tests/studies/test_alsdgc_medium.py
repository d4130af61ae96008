"""Preset medium of the study of ALSDGC: looks, ranks, chosen norms, what the rows say, from records made by hand."""

from functools import cache
from pathlib import Path

import pytest

from alsdgc_records import complete, record
from regrad.claims.load import load
from regrad.claims.tasks import Task
from regrad.claims.verdicts import decide
from regrad.report.outcomes import Outcomes
from regrad.studies.alsdgc import figures, scale, tables
from regrad.studies.alsdgc import plan as study
from regrad.studies.alsdgc.arms import NORMS
from regrad.studies.alsdgc.claims import claim_rows
from regrad.studies.alsdgc.numbers import numbers
from regrad.studies.alsdgc.plan import plan
from regrad.studies.alsdgc.quantities import acted
from regrad.studies.alsdgc.scale import change, leads, scale_numbers
from regrad.studies.alsdgc.sizes import PRESETS
from regrad.studies.alsdgc.study import STUDY

SIZES = PRESETS["medium"]
LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"
FROM_BENCHMARK = ("ALSDGC-D7",)


@cache
def records(*second):
    """The records at the first look, and at the second those of the parts and arms named."""
    return complete(SIZES, lambda part, arm: 10 if (part, arm) in second else 5)


def tagged(found, **tags):
    return [r for r in found if tags.items() <= r.spec.tags.items()]


def keys(specs):
    return {spec.key() for spec in specs}


def test_a_part_and_an_arm_get_the_seeds_they_are_given_and_no_others():
    wanted = {("width", "V0"), ("resnet", "clip-1"), ("sensitivity", "V4"), ("spikes", "clip-3")}
    found = records(*wanted)
    assert {(r.spec.tags["part"], r.spec.tags["arm"]) for r in found if 5 <= r.spec.seed < 1000} == wanted
    assert {r.spec.seed for r in tagged(found, part="width", arm="V0", multiple="2")} == {*range(10)}


def test_more_seeds_never_take_a_run_back():
    found = records(("plain", "V4"), ("fractions", "V0"))
    first = plan(SIZES, list(records()), lambda part, arm: 5)
    assert keys(first) <= keys(plan(SIZES, list(found), lambda part, arm: 5))
    assert keys(first) < keys(plan(SIZES, list(found), lambda part, arm: 10))


def test_of_the_fixed_norms_the_default_and_the_best_alone_run_on_fresh_seeds():
    """Norm 3 is made the best; before every norm is tuned none is."""
    for task in SIZES.tasks:
        norms = {r.spec.tags["arm"] for r in tagged(records(), part=task, phase="fresh")} & {*NORMS}
        assert norms == {"clip-1", "clip-3"}
    half = [r for r in records() if r.spec.tags["phase"] == "tune" and r.spec.tags["arm"] != "clip-10"]
    named = {(s.tags["part"], s.tags["arm"]) for s in plan(SIZES, half) if s.tags["phase"] != "tune"}
    assert ("plain", "clip-3") not in named
    assert ("plain", "clip-1") in named
    assert "width" not in {part for part, _ in named}


def test_other_budgets_change_the_steps_at_the_tuned_rate_on_five_seeds_whatever_the_look():
    more = {(part, arm) for part in ("budget-plain", "budget-translation") for arm in ("clip-1", "clip-3", "V0", "V4")}
    found = records(*more)
    for task in SIZES.budget_tasks:
        base = {(r.spec.tags["arm"], r.spec.seed): r.spec for r in tagged(found, part=task, phase="fresh")}
        longer = [r.spec for r in tagged(found, part=f"budget-{task}")]
        assert {s.seed for s in longer} == {*range(5)}
        for spec in longer:
            same = base[spec.tags["arm"], spec.seed]
            assert spec.steps == float(spec.tags["budget"]) * same.steps
            assert (spec.optimizer, spec.problem, spec.scaler) == (same.optimizer, same.problem, same.scaler)


def test_the_constants_move_one_at_a_time_at_the_arm_s_own_rate():
    moved = tagged(records(), part="sensitivity", arm="V4")
    (rate,) = {r.spec.optimizer.lr for r in tagged(records(), part="plain", arm="V4", phase="fresh")}
    assert {r.spec.optimizer.lr for r in moved} == {rate}
    settings = {r.spec.tags["setting"] for r in moved}
    assert settings == {f"init_threshold = {k:g}" for k in (0.1, 1, 10)} | {f"init_scale = {k}" for k in (1, 256)}


def test_ranks_put_the_headline_first_and_what_can_wait_last():
    ranks = {}
    for run in records(("plain", "V4")):
        tags = run.spec.tags
        ranks.setdefault(tags["rank"], set()).add((tags["part"], tags["arm"], 5 <= run.spec.seed < 1000))
    assert {part for part, _, _ in ranks["0"]} == {"plain", "resnet", "lstm", "translation"}
    assert {arm for _, arm, _ in ranks["0"]} == {"none", *NORMS, "V0", "V4"}
    assert not any(later for _, _, later in ranks["0"] | ranks["1"])
    assert ("plain", "V4", True) in ranks["2"]
    assert ("plain", "zclip", False) in ranks["2"]
    assert ("plain", "lamb", False) in ranks["1"]


def test_the_claims_find_their_arms_and_every_row_says_its_runs():
    rows = claim_rows(records())
    have = {(row["metric"], row["arm"]) for row in rows}
    claims = [c for c in load(LEDGER) if c.study == STUDY.name and "medium" in c.presets]
    for claim in claims:
        for test in claim.test if claim.id not in FROM_BENCHMARK else ():
            for arm in (*test.treatment, *test.control) if hasattr(test, "treatment") else ():
                assert (test.metric, arm) in have, claim.id
    planned = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in records()}
    assert all(row["runs"] and set(row["runs"]) <= planned for row in rows)


def test_the_range_over_constants_is_from_the_lowest_loss_to_the_highest_and_without_end_where_one_is_lost():
    """Losses rise by 0.01 a unit of threshold or norm above where the arm has its own: by 0.1 up to 10."""
    values = {}
    for row in claim_rows(records()):
        if row["metric"] == "init_range/plain":
            values.setdefault(row["arm"], []).append(row["value"])
    assert values["V4"] == [pytest.approx(0.1)] * 5
    assert values["fixed-norm"] == [pytest.approx(0.1)] * 5
    for which in ({"setting": "init_threshold = 10"}, {"arm": "V4"}):
        lost = [r.model_copy(update={"status": "diverged"}) if r in tagged([r], **which) else r for r in records()]
        rows = [r for r in claim_rows(lost) if (r["metric"], r["arm"]) == ("init_range/plain", "V4")]
        assert [(r["value"], r["diverged"]) for r in rows] == [(None, True)] * 5


def test_the_gap_is_the_whole_test_loss_less_the_training_loss():
    """Made records: training loss 0.2 below the validation loss, test loss 0.1 above it."""
    rows = [r for r in claim_rows(records()) if r["metric"].startswith("generalization_gap")]
    assert {r["metric"].partition("/")[2] for r in rows} == {"plain", "resnet", "lstm", "translation"}
    assert all(r["value"] == pytest.approx(0.3) for r in rows)


def test_the_rungs_say_at_which_share_of_steps_they_acted():
    assert acted(Outcomes(records()).part("plain").arm("V4").fresh) == [2.0] * 5


def test_the_lead_at_each_length_is_paired_and_its_change_told():
    """Made records say nothing of steps: V4 leads norm 3 by 0.1 at every length, and nothing changes."""
    outcomes = Outcomes(records())
    found = leads(outcomes, "plain", "V4")
    assert list(found) == [0.25, 1.0, 4.0]
    assert all(value == pytest.approx(-0.1, abs=0.004) for lead in found.values() for value in lead.values())
    moved = [
        r.model_copy(update={"metrics": r.metrics | {"test_loss": r.metrics["test_loss"] - 0.2}})
        if (r.spec.tags["part"], r.spec.tags["arm"], r.spec.tags.get("budget")) == ("budget-plain", "V4", "4")
        else r
        for r in records()
    ]
    assert change(Outcomes(moved), "plain", "V4").estimate == pytest.approx(-0.2)
    assert scale_numbers(moved)["alsdgc/scale/V4"].startswith("-0.200 [")
    assert scale_numbers(moved)["alsdgc/scale/lengths"] == "0.25, 1, 4"


def test_with_one_budget_the_rules_stand_side_by_side_with_their_names():
    one = [r for r in records() if not r.spec.tags["part"].startswith("budget-")]
    axis = scale.fig_scale(one, 0.01).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["as printed", "repaired"]
    assert axis.get_xlabel().startswith("at ")
    assert "alsdgc/scale/longer" not in scale_numbers(one)


def test_everything_is_drawn_and_counted_without_the_arms_that_this_preset_lacks():
    found = records()
    assert not numbers(found)["alsdgc/fp16/v4-gap"]
    assert "translation" in numbers(found)["alsdgc/adam/lr-x2"]
    for draw in (figures.fig_tasks, figures.fig_widths, figures.fig_adaptation, figures.fig_spikes):
        assert draw(found).axes
    assert len(scale.fig_scale(found, 0.01).axes) == 2
    table = tables.results_table(found).set_index("arm")
    assert table.loc["repaired", "acted at"] == "200.0 %"
    assert table.loc["repaired", "same, 4 x steps [95 %]"].startswith("-0.1")
    assert "norm 10" not in table.index
    assert set(tables.control_table(found)["setting"]) == {"Adam's rate, LSTM", "Adam's rate, translation"}


def test_a_task_s_gate_stands_beside_what_norm_1_reaches():
    about = {"better": "higher", "unit": "points", "presets": ["medium"], "floor_by": "x", "competent_by": "x"}
    gate = Task(name="a", metric="test_accuracy/plain", floor=70.0, bar=75.0, competent=90.0, untrained=10.0, **about)
    table = tables.tasks_table(records(), [gate]).set_index("task")
    assert table.loc["plain CNN", tables.GATE] == "95.0 (70.0, 75.0, 90.0)"
    assert table.loc["translation", tables.GATE] == ""
    assert tables.GATE not in tables.tasks_table(records())


def test_the_preset_is_carried_through_its_looks():
    """Made records differ by more than their noise, so that few claims stay open."""
    found = []
    while len(specs := study.specs("medium", found)) > len(found):
        found = [record(spec, SIZES) for spec in specs]
    seeds = {}
    for one in (r.spec for r in found if r.spec.tags["phase"] != "tune"):
        seeds.setdefault((one.tags["part"], one.tags["arm"]), set()).add(one.seed)
    assert {len(own) for own in seeds.values()} <= {5, 10, 20}
    assert seeds["plain", "zclip"] == {*range(5)}
    decided = decide(LEDGER, STUDY.name, claim_rows, found, preset="medium")
    assert {v["id"] for v in decided if v["verdict"] != "not tested"} >= {"ALSDGC-D1b", "ALSDGC-D9"}
