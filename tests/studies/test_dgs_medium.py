"""Preset medium of the DGS study: two tunings, looks, ranks, and what is drawn of it, from records made by hand."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from dgs_records import LOSS, REPAIRED, complete, record
from regrad.claims.load import load
from regrad.claims.tasks import Task
from regrad.report.outcomes import Outcomes
from regrad.studies import looks
from regrad.studies.dgs import figures, tables
from regrad.studies.dgs.claims import claim_rows
from regrad.studies.dgs.numbers import numbers
from regrad.studies.dgs.plan import plan, specs
from regrad.studies.dgs.quantities import target
from regrad.studies.dgs.scale import fig_scale, scale_numbers
from regrad.studies.dgs.sizes import PRESETS
from regrad.studies.dgs.speed import fig_speed, speed_numbers
from regrad.studies.dgs.study import STUDY

SIZES = PRESETS["medium"]
LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"


@cache
def records(*second):
    """The records at the first look, and at the second those of the parts and arms named."""
    return complete(SIZES, lambda part, arm: 10 if (part, arm) in second else 5)


def tagged(found, **tags):
    return [r for r in found if tags.items() <= r.spec.tags.items()]


def keys(specs):
    return {spec.key() for spec in specs}


def test_each_network_has_a_tuning_of_its_own_around_the_rate_of_the_shallower():
    for first, deeper in (("images", "images32"), ("spiking", "spiking32")):
        for arm in SIZES.arms[deeper]:
            (rate,) = {r.spec.optimizer.lr for r in tagged(records(), part=first, arm=arm, phase="fresh")}
            grid = sorted({r.spec.optimizer.lr for r in tagged(records(), part=deeper, arm=arm, phase="tune")})
            assert any(low < rate < high for low, high in pairwise(grid))
            assert {r.spec.problem.options["depth"] for r in tagged(records(), part=deeper)} == {32}


def test_a_part_and_an_arm_get_the_seeds_they_are_given_and_no_others():
    wanted = [("reset", "S1"), ("images32", "adam"), ("language", "S1"), ("stability", "sgd"), ("spiking", "lars")]
    found = records(*wanted)
    later = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in found if 5 <= r.spec.seed < 1000}
    assert later == set(wanted)
    assert {r.spec.seed for r in tagged(found, part="reset", arm="S1", model="resnet32", reset="hard")} == {*range(10)}


def test_more_seeds_never_take_a_run_back():
    found = records(("images", "S1"), ("reset", "adam"))
    first = plan(SIZES, list(records()), lambda part, arm: 5)
    assert keys(first) <= keys(plan(SIZES, list(found), lambda part, arm: 5))
    assert keys(first) < keys(plan(SIZES, list(found), lambda part, arm: 10))


# One claim of the ledger's kind, so that what is open is known.
CLAIM = """
[[claim]]
id = "X"
paper = "dgs"
sentence = "S1 ends lower."
quotation = "."
place = "."
source = "primary"
study = "dgs"
presets = { medium = 10 }
falsified = "."
[[claim.test]]
kind = "paired"
metric = "test_loss"
direction = "lower"
margin = 0.01
unit = "nats"
treatment = ["S1@language"]
control = ["adam@language"]
"""
LEADS = (0.19, 0.01, 0.15, -0.05, 0.2)  # of S1 by seed, in nats: 0.1 on average, p = 0.11 after the first look


def loosened(spec):
    """The record of a spec, S1's lead on text spread over the seeds."""
    made = record(spec)
    if (spec.tags["part"], spec.tags["arm"], spec.tags["phase"]) != ("language", "S1", "fresh"):
        return made
    return made.model_copy(update={"metrics": made.metrics | {"test_loss": LOSS["adam"] - LEADS[spec.seed % 5]}})


def test_an_open_claims_arms_alone_get_the_seeds_of_the_second_look(tmp_path, monkeypatch):
    (tmp_path / "claims.toml").write_text(CLAIM)
    monkeypatch.setattr(looks, "LEDGER", tmp_path / "claims.toml")
    found = []
    while len(named := specs("medium", found)) > len(found):
        found = [loosened(spec) for spec in named]
    later = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in found if 5 <= r.spec.seed < 1000}
    assert later == {("language", "S1"), ("language", "adam")}
    assert keys(named) == {r.spec.key() for r in found}


def test_ranks_put_the_headline_first_and_what_can_wait_last():
    ranks = {}
    for run in records(("images", "S1")):
        tags, seed = run.spec.tags, run.spec.seed
        ranks.setdefault(tags["rank"], set()).add((tags["part"], tags["arm"], 5 <= seed < 1000))
    assert ranks["0"] == {(part, arm, False) for part in ("images", "images32") for arm in ("adam", "lars", "S1")}
    assert ranks["2"] == {("images", "S1", True), *(("budget", arm, False) for arm in ("adam", "lars", "S1"))}


def test_runs_of_a_budget_differ_from_the_comparison_in_steps_and_what_is_recorded_only():
    plain = {(r.spec.tags["arm"], r.spec.seed): r.spec for r in tagged(records(), part="images", phase="fresh")}
    for run in tagged(records(), part="budget"):
        spec = plain[run.spec.tags["arm"], run.spec.seed]
        changed = {"steps": run.spec.steps, "evaluations": 1, "tags": run.spec.tags}
        assert run.spec == spec.model_copy(update=changed)
    assert {run.spec.steps for run in tagged(records(), part="budget")} == {760, 3040}


def test_the_claims_find_their_arms_and_every_row_says_its_runs():
    rows = claim_rows(records(), [])
    have = {(row["metric"], row["arm"]) for row in rows}
    for claim in load(LEDGER):
        for test in claim.test if claim.study == STUDY.name and claim.id != "DGS-C7" else ():
            for arm in (*test.treatment, *test.control) if hasattr(test, "treatment") else ():
                assert (test.metric, arm) in have, claim.id
    planned = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in records()}
    assert all(row["runs"] and set(row["runs"]) <= planned for row in rows)


def test_each_network_has_the_target_of_its_own_tuning():
    outcomes = Outcomes(records())
    assert target(outcomes, "resnet32") == pytest.approx(target(outcomes, "resnet20"), abs=0.02)
    ends = [r.metrics["validation_loss"] for r in tagged(records(), part="images32", arm="S1", phase="tune")]
    assert min(ends) + 0.05 <= target(outcomes, "resnet32") <= max(ends) + 0.05


def test_the_deeper_network_is_tuned_without_waiting_for_the_shallower():
    at_first = {s.tags["part"] for s in specs("medium", []) if s.tags["part"] in ("images", "images32")}
    assert at_first == {"images", "images32"}


def test_tables_leave_out_what_a_preset_has_not_and_show_the_longer_runs():
    frame = tables.images_table(records()).set_index("arm")
    assert list(frame.index) == ["SGD", "Adam", "LARS", "DGS, equation", "DGS, steps"]
    assert frame.loc["SGD", "ResNet-32, % [95 %]"] == frame.loc["SGD", "div. 32"] == ""
    longer = frame["ResNet-20, 3,040 steps"]
    assert [bool(cell) for cell in longer] == [False, True, True, False, True]
    assert list(tables.reset_table(records()).columns) == ["network", "reset", "Adam", "DGS, steps", "steps minus Adam"]
    tasks = list(tables.tuning_table(records())["task"])
    assert (tasks.count("images32"), tasks.count("spiking32"), tasks.count("language")) == (4, 4, 3)


def task(name, floor, bar, competent):
    about = {"name": name, "metric": "test_accuracy", "better": "higher", "unit": "points", "presets": ["medium"]}
    values = {"floor": floor, "bar": bar, "competent": competent, "untrained": 10.0}
    return Task(**about, **values, floor_by=".", competent_by=".")


def test_a_table_ends_with_floor_bar_and_competent_value_of_its_task():
    tasks = {"adam@resnet32": task("a", 81.34, 84.2, 92.5), "lars@resnet20/soft": task("b", 86.52, 89.0, 96.0)}
    last = tables.images_table(records(), tasks).iloc[-1]
    assert (last["arm"], last["ResNet-20, % [95 %]"]) == ("floor, bar, competent", "")
    assert last["ResNet-32, % [95 %]"] == "81.3, 84.2, 92.5"
    assert tables.spiking_table(records(), "lars", tasks).iloc[-1]["ours, % [95 %]"] == "86.5, 89.0, 96.0"
    assert len(tables.spiking_table(records(), "adam", tasks)) == 4
    beyond = tables.beyond_table(records(), {"adam@own": task("c", 81.34, 83.1, 88.0)})
    assert (beyond.iloc[-1]["task"], beyond.iloc[-1]["test [95 %]"]) == ("own network", "81.3, 83.1, 88.0")


def test_the_lead_by_network_and_budget_is_that_of_the_runs():
    lead = 25 * (LOSS["adam"] - LOSS["S1"])  # of S1 over Adam, wherever both are
    axis = fig_scale(records(), margin=0.3).axes[0]
    ticks = [tick.get_text().split("\n") for tick in axis.get_xticklabels()]
    shallower = [["ResNet-20", f"{steps} steps"] for steps in ("760", "1,688", "3,040")]
    assert ticks == [*shallower, ["ResNet-32", "760 steps"]]
    drawn = {round(float(x), 1): float(y) for line in axis.lines for x, y in [*zip(*line.get_data(), strict=True)][:1]}
    assert drawn[2.1] == pytest.approx(lead, abs=0.1)
    cited = scale_numbers(records())
    assert cited["dgs/scale/S1-adam"].startswith(f"{lead:.1f}")
    assert cited["dgs/scale/S1-adam/change"].startswith(("0.0", "-0.0", "−0.0"))


def test_everything_is_drawn_and_told():
    for figure in (figures.fig_learning_rates, fig_speed):
        assert figure(records()).axes
    *_, ours = figures.fig_bars(records(), {"adam@resnet20/soft": task("a", 86.52, 89.0, 96.0)}).axes
    assert [line.get_ydata()[0] for line in ours.lines if line.get_linestyle() in (":", "--", "-.")] == [
        86.52,
        89.0,
        96.0,
    ]
    cited = numbers(records(), REPAIRED) | speed_numbers(records())
    assert cited["dgs/geometry/arm"] == "SGD"
    assert cited["dgs/depths"] == "20 and 32"
    assert cited["dgs/spiking/steps"] == "600 and 1,200"
