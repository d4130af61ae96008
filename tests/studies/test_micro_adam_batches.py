"""Adam tuned at every batch size, the regret of rules for its rate, and both looks of the study's plan. By hand."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micro_adam_records import TUNED, record, study_records, tuned_records
from regrad.claims.looks import cut
from regrad.claims.tasks import Task
from regrad.report.export import KEY
from regrad.report.outcomes import Outcomes
from regrad.studies.micro_adam import figures, scaling, tables
from regrad.studies.micro_adam import plan as study
from regrad.studies.micro_adam import split as batches
from regrad.studies.micro_adam.arms import ARMS, HEADLINE, ROOT, RULES
from regrad.studies.micro_adam.claims import claim_rows, target
from regrad.studies.micro_adam.numbers import numbers
from regrad.studies.micro_adam.sizes import PRESETS

LEAN = TUNED._replace(
    images=None, left_out=PRESETS["medium"].left_out, stability_seeds=0, multiples=(2.0,), seeds=(2, 10)
)
TASK = Task(
    name="x", metric="test_loss", unit="nats", presets=("small",), floor=2.53, floor_by="x", untrained=5.5,
    competent=1.8, competent_by="x", bar=2.34,
)  # fmt: skip
RECORDS = tuned_records()
OUTCOMES = Outcomes(RECORDS)


def carried_out(sizes, fresh):
    found = []
    while len(specs := study.plan(sizes, found, fresh)) > len(found):
        found = [record(spec) for spec in specs]
    return found


def changed(records, loss, **tags):
    """The records with another test loss where these tags are."""
    return [
        r.model_copy(update={"metrics": r.metrics | {"test_loss": loss}}) if tags.items() <= r.spec.tags.items() else r
        for r in records
    ]


def test_adam_is_tuned_at_every_other_batch_size_around_the_square_root_s_rate():
    runs = [r.spec for r in RECORDS if r.spec.tags["part"] == "batches"]
    found = {b: {s.optimizer.lr for s in runs if s.batch_size == b and s.tags["phase"] == "tune"} for b in (4, 16)}
    for size, lrs in found.items():
        middle = 8e-3 * math.sqrt(size / 8)
        assert sorted(lrs) == pytest.approx([middle / 2, middle, 2 * middle], rel=1e-5)
    assert {s.batch_size for s in runs} == {4, 16}
    assert {s.steps * s.batch_size for s in runs} == {64}
    assert {s.tags["arm"] for s in runs if s.batch_size == 4} == {"B=4"}


def test_a_regret_is_the_mean_over_the_other_batch_sizes_of_the_loss_over_the_tuned_rate_s():
    """At seed 0: 2.30 and 2.50 under η ∝ B, 2.10 at the tuned rates: (0.20 + 0.40) / 2."""
    linear = {"part": "scaling", "arm": "lr~B^1"}
    made = changed(RECORDS, 2.1, part="batches")
    made = [
        r.model_copy(update={"metrics": r.metrics | {"test_loss": {4: 2.3, 16: 2.5}.get(r.spec.batch_size, 9.0)}})
        if linear.items() <= r.spec.tags.items()
        else r
        for r in made
    ]
    outcomes = Outcomes(made)
    assert scaling.regrets(outcomes, RULES["lr~B^1"], [4, 16]) == pytest.approx(dict.fromkeys(range(5), 0.3))
    assert scaling.regrets(outcomes, RULES["lr~B^1"], [16]) == pytest.approx(dict.fromkeys(range(5), 0.4))


def test_a_rule_that_diverged_has_an_infinite_regret_and_a_row_without_a_value():
    lost = study_records(
        lambda s: (s.tags["part"], s.tags["arm"], s.batch_size, s.seed) == ("scaling", "lr~B^1", 16, 2), sizes=TUNED
    )
    assert scaling.regrets(Outcomes(lost), RULES["lr~B^1"], [4, 16])[2] == math.inf
    rows = [r for r in claim_rows(lost) if r["metric"].startswith("regret") and r["diverged"]]
    assert {(r["arm"], r["seed"], r["value"], r["metric"]) for r in rows} == {
        ("lr~B^1", 2, None, "regret"),
        ("lr~B^1", 2, None, "regret_where_mean_leads"),
    }
    spread = [r for r in claim_rows(lost) if r["metric"] == "diverged_across_batches" and r["arm"] == "lr~B^1"]
    assert (sum(r["diverged"] for r in spread), len(spread)) == (1, 15)


def test_where_the_mean_squared_leads_only_the_sizes_above_its_share_of_a_half_count():
    """The shares are 1/3 at B = 4 and 2/3 at 16."""
    rows = [r for r in claim_rows(RECORDS) if r["metric"] == "regret_where_mean_leads" and r["arm"] == ROOT.name]
    expected = scaling.regrets(OUTCOMES, ROOT, [16])
    assert {r["seed"]: r["value"] for r in rows} == expected
    assert rows[0]["runs"] == (("scaling", "lr~B^0.5"), ("language", "adam"), ("batches", "B=16"))


def test_a_preset_without_tuning_there_has_no_regret():
    found = {r["metric"] for r in claim_rows(study_records())}
    assert not any(metric.startswith("regret") for metric in found)
    assert not scaling.tuned_elsewhere(Outcomes(study_records()))


def test_every_row_names_runs_that_there_are():
    there = {(r.spec.tags["part"], r.spec.tags["arm"]) for r in RECORDS}
    for row in claim_rows(RECORDS):
        assert row["runs"], row
        assert set(row["runs"]) <= there


def test_the_target_lies_above_every_tuning_run_of_the_named_methods_at_their_rates():
    sizes = TUNED._replace(seeds=(2, 5))
    outcomes = Outcomes(study_records(sizes=sizes)).part("language")
    choices = outcomes.choices()
    ends = [
        r.metrics["validation_loss"]
        for r in outcomes.tuning.arm(*HEADLINE)
        if r.spec.optimizer.lr == choices[r.spec.tags["arm"]].best
    ]
    assert len(ends) == 6
    assert target(Outcomes(study_records(sizes=sizes))) == pytest.approx(max(ends) + 0.05)


def test_longer_runs_are_of_the_named_methods_at_their_rates_and_no_look_changes_their_number():
    for n in (5, 10):
        specs = [r.spec for r in carried_out(LEAN, lambda part, arm, n=n: n)]
        longer = [s for s in specs if s.tags["part"] == "budget"]
        assert {s.tags["arm"] for s in longer} == set(HEADLINE)
        assert {(s.seed, s.steps, s.tags["rank"]) for s in longer} == {(seed, 32, "2") for seed in (0, 1)}
        rates = {s.tags["arm"]: s.optimizer.lr for s in specs if s.tags["phase"] == "fresh"}
        assert all(s.optimizer.lr == rates[s.tags["arm"]] for s in longer)


WANTED = {
    ("language", "adam"), ("language", "c=4"), ("stability", "micro_adam"), ("scaling", ROOT.name), ("batches", "B=4"),
}  # fmt: skip
FIRST = carried_out(LEAN, lambda part, arm: 5)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.sampled_from(sorted(WANTED))))
def test_later_seeds_of_any_groups_name_no_run_anew_and_take_none_back(wanted):
    records = carried_out(LEAN, lambda part, arm: 10 if (part, arm) in wanted else 5)
    later = [s.spec for s in records if s.spec.key() not in {r.spec.key() for r in FIRST}]
    assert {(s.tags["part"], s.tags["arm"]) for s in later} == wanted
    assert all(s.seed >= 5 and s.tags["rank"] == "2" for s in later)
    assert {r.spec.key() for r in FIRST} <= {r.spec.key() for r in records}
    assert [r.spec.key() for r in cut(records, 5)] == [r.spec.key() for r in FIRST]
    assert claim_rows(cut(records, 5)) == claim_rows(FIRST)


def test_ranks_put_the_named_methods_first():
    ranks = {(r.spec.tags["part"], r.spec.tags["arm"], r.spec.tags["rank"]) for r in FIRST}
    assert {rank for part, arm, rank in ranks if part == "language" and arm in HEADLINE} == {"0"}
    assert {rank for part, arm, rank in ranks if part == "language" and arm not in HEADLINE} == {"1"}
    assert {rank for part, _, rank in ranks if part in ("stability", "scaling", "batches")} == {"1"}


def test_tables_numbers_and_figures_of_a_preset_with_fewer_arms_and_no_images():
    found = numbers(FIRST)
    assert all(KEY.fullmatch(key) and text for key, text in found.items())
    assert {"adam/regret/0.5", "adam/longer/steps", "adam/micro-adam/longer/change"} <= set(found)
    assert not any("images" in key or "decay" in key or "clipped" in key for key in found)
    table = tables.scaling_table(FIRST).set_index("B")
    assert list(table.index) == ["4", "8", "16", "spread", "regret"]
    assert list(table["tuned LR"]) == ["2.102", "2.122", "2.102", "", ""]
    results = tables.results_table(FIRST).set_index("arm")["at 32 steps"]
    assert float(results["MicroAdam"].split()[0]) == pytest.approx(0.2, abs=0.005)
    assert results["c = 4"] == results["Adam"] == ""
    assert "Adam, B=4" in set(tables.tuning_table(FIRST)["arm"])
    scale = figures.fig_scale(FIRST, 0.01).axes[0]
    assert [text.get_text() for text in scale.get_xticklabels()] == ["8", "32"]
    assert len(scale.containers) == 4
    drawn = [figures.fig_learning_rates(FIRST), figures.fig_coefficient(FIRST), figures.fig_stability(FIRST)]
    drawn.append(figures.fig_learning_rates(FIRST, "images"))
    assert len(tables.results_table(FIRST, "images")) == 1
    for figure in (*drawn, batches.fig_split(FIRST), batches.fig_scaling(FIRST)):
        figure.set_layout_engine("none")
        figure.draw_without_rendering()
    assert batches.fig_scaling(FIRST).axes[3].get_ylabel() == "regret (nats)"


def test_the_floor_the_bar_and_a_competent_value_are_drawn_and_printed():
    for figure in (
        figures.fig_learning_rates(FIRST, "language", [TASK]),
        figures.fig_coefficient(FIRST, [TASK]),
        batches.fig_scaling(FIRST, [TASK]),
    ):
        drawn = [float(line.get_ydata()[0]) for line in figure.axes[0].lines[-3:]]
        assert sorted(drawn) == [1.8, 2.34, 2.53]
    last = tables.results_table(FIRST, "language", [TASK]).iloc[-1]
    assert (last["arm"], last["test loss [95 %]"], last["LR"]) == ("floor, bar, competent", "2.53, 2.34, 1.80", "")


def test_every_arm_of_medium_has_a_role():
    assert {arm for arm in ARMS if arm not in LEAN.left_out} >= {*HEADLINE, "c=0.25", "c=4", "micro_adam+clip"}
