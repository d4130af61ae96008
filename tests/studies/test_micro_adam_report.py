"""What the report says of the study of Adam's preconditioner, worked out by hand on constructed records."""

import math
from pathlib import Path

import pytest

from micro_adam_records import LAYERS, LIMIT, SIZES, adam_spec, record, study_records
from regrad.claims.verdicts import decide
from regrad.report.export import KEY, Exporter
from regrad.report.outcomes import Outcomes
from regrad.report.tables import to_latex
from regrad.results import Curve
from regrad.studies.micro_adam import figures, scaling, tables
from regrad.studies.micro_adam import split as batches
from regrad.studies.micro_adam.arms import ARMS, ROOT, RULES, arms_in
from regrad.studies.micro_adam.claims import claim_rows, largest_stable, target
from regrad.studies.micro_adam.numbers import numbers
from regrad.studies.micro_adam.study import STUDY

LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"
RECORDS = study_records()
OUTCOMES = Outcomes(RECORDS)
LINEAR = RULES["lr~B^1"]


def run(*, validation=(5.5, 3.0, 2.0), steps=(0.0, 10.0, 20.0), **changes):
    """One fresh run of Adam with a given validation curve."""
    made = record(adam_spec())
    curves = made.curves | {"validation_loss": Curve(x=list(steps), y=list(validation))}
    return made.model_copy(update={"curves": curves} | changes)


def at(multiple, *, lost=False):
    spec = adam_spec(part="stability", phase="stability", multiple=f"{multiple:g}")
    return run(spec=spec, status="diverged" if lost else "finished")


def verdicts(records, preset="small"):
    rows = claim_rows(records)
    return {v["id"]: v for v in decide(LEDGER, STUDY.name, lambda _: rows, records, preset=preset)}


DECIDED = verdicts(RECORDS)


# -- speed and stability


def test_the_largest_stable_rate_lies_below_the_first_that_diverges():
    assert largest_stable([at(8), at(2), at(32, lost=True)]) == 8
    assert largest_stable([at(32, lost=True), at(2), at(8)]) == 8, "in any order"
    assert largest_stable([at(2), at(8, lost=True), at(32)]) == 2, "a lucky run beyond does not count"
    assert largest_stable([at(2, lost=True), at(8)]) == 1, "the optimum itself"


def test_the_target_comes_from_tuning_alone_and_the_slowest_arm():
    """MicroAdamVar ends its best tuning run at 2.5 and its jitter; nothing of the fresh runs enters."""
    slowest = OUTCOMES.part("language").choices()["micro_adam_var"]
    assert target(OUTCOMES) == pytest.approx(slowest.means[slowest.best] + 0.05)
    assert slowest.means[slowest.best] == pytest.approx(2.5, abs=0.01)
    assert target(OUTCOMES.tuning) == target(OUTCOMES)


def test_arms_come_by_rising_c_then_clipped_then_with_decay():
    names = OUTCOMES.part("language").arms
    assert names[:6] == ["micro_adam_msq", "adam", "c=0.25", "micro_adam", "c=4", "micro_adam_var"]
    assert names[6] == "micro_adam_msq+clip"
    assert names[-2:] == ["adam+decay", "micro_adam+decay"]


# -- the split and the batch sizes


def test_the_share_is_of_sums_and_a_negative_estimate_counts_as_none():
    assert scaling.share(1.0, 8.0, 4) == pytest.approx(1 / 3)
    assert scaling.share(-1.0, 8.0, 4) == 0.0
    assert scaling.share(0.0, 0.0, 4) == 0.0


def test_the_split_over_all_tensors_is_of_their_summed_moments():
    """Mean squares 1 and 5, variances 8 and 8, B = 16: 6/(6 + 16/16) = 6/7; alone 1/(1 + .5) and 5/5.5."""
    made = record(adam_spec())
    other = {f"split/{LAYERS[1]}/mean_square": Curve(x=[0.0, 8.0], y=[5.0, 5.0])}
    made = made.model_copy(update={"curves": made.curves | other})
    assert scaling.split(made, 16) == pytest.approx([6 / 7] * 2)
    assert scaling.split(made, 16, LAYERS[0]) == pytest.approx([2 / 3] * 2)
    assert scaling.split(made, 16, LAYERS[1]) == pytest.approx([10 / 11] * 2)
    assert scaling.noise_scale(made, LAYERS[0]) == pytest.approx(8.0)


def test_the_shares_by_batch_size_are_a_third_a_half_and_two_thirds():
    assert scaling.shares(OUTCOMES) == pytest.approx({4: 1 / 3, 8: 1 / 2, 16: 2 / 3})


def test_every_rule_has_a_row_at_every_point_of_its_curves():
    rows = scaling.curve_rows(OUTCOMES)
    assert {r["arm"] for r in rows if r["batch_size"] == 16} == set(RULES)
    # 3 rules, 3 batch sizes, 5 seeds, 4 evaluations; the untrained model is no point of a learning curve.
    assert len(rows) == 180
    assert sorted({r["at"] for r in rows}) == [16, 32, 48, 64]


def test_a_diverged_run_has_a_row_without_a_value_at_every_point():
    lost = Outcomes(
        study_records(
            lambda s: s.tags["part"] == "scaling" and (s.tags["arm"], s.batch_size, s.seed) == ("lr~B^1", 16, 2)
        )
    )
    rows = [row for row in scaling.curve_rows(lost) if row["diverged"]]
    assert [row["at"] for row in rows] == [16, 32, 48, 64]
    assert {row["value"] for row in rows} == {None}
    assert scaling.spreads(lost, LINEAR)[2] == math.inf
    assert scaling.spread_interval(lost, LINEAR).n == 4


def test_a_run_that_ends_above_its_untrained_model_has_no_value_either():
    high = Curve(x=[0.0, 1.0, 2.0, 3.0, 4.0], y=[5.5, 4.0, 5.0, 6.0, 6.0])
    ended = next(run for run in OUTCOMES.part("scaling") if run.spec.batch_size == 16)
    ended = ended.model_copy(update={"curves": ended.curves | {"validation_loss": high}})
    assert {(row["value"], row["diverged"]) for row in scaling.curve_rows(Outcomes([ended]))} == {(None, True)}


def test_the_spread_is_the_range_over_batch_sizes_averaged_over_the_axis():
    """Curves fall linearly, so the range grows by quarters to 0.3: its mean is 0.3 (1 + 2 + 3 + 4)/16 = 0.1875."""
    for value in scaling.spreads(OUTCOMES, LINEAR).values():
        assert value == pytest.approx(0.1875, abs=0.003)
    assert scaling.spread_interval(OUTCOMES, ROOT).estimate == pytest.approx(0.05 * 10 / 16, abs=0.003)


# -- claims


def test_the_rows_have_every_metric_that_the_claims_ask_for():
    found = {row["metric"] for row in claim_rows(RECORDS)}
    asked = {"test_loss", "steps_to_target", "diverged_on_grid", "max_stable_relative_lr", "diverged_across_batches"}
    assert found == asked


def test_tuning_runs_are_no_results():
    speed = [row for row in claim_rows(RECORDS) if row["metric"] in ("test_loss", "steps_to_target")]
    assert {row["seed"] for row in speed} == {0, 1, 2, 3, 4}
    assert len(speed) == 2 * 5 * len(arms_in("language"))


def test_losses_that_fall_with_c_reproduce_c4_and_smoke_decides_nothing():
    assert {DECIDED[name]["verdict"] for name in ("C4", "C4b", "C5")} == {"reproduced"}
    assert {v["verdict"] for v in verdicts(RECORDS, "smoke").values()} == {"not tested"}


def test_the_image_task_decides_no_claim():
    rows = claim_rows(RECORDS)
    assert claim_rows([r for r in RECORDS if r.spec.tags["part"] != "images"]) == rows


def test_the_rules_are_judged_by_regrets_and_without_them_not_at_all():
    assert DECIDED["C7"]["why"].startswith("no run with regret of")
    assert DECIDED["C8"]["why"].startswith("no run with regret_where_mean_leads of")


def test_rates_count_every_multiple_and_seed():
    """Of multiples 2, 8, 32 MicroAdamVar loses 8 and 32 (limit 4) at eight seeds, MicroAdam 32, Adam none."""
    rows = [r for r in claim_rows(RECORDS) if r["metric"] == "diverged_on_grid"]
    lost = {arm: [r["diverged"] for r in rows if r["arm"] == arm] for arm in LIMIT}
    assert {arm: (sum(v), len(v)) for arm, v in lost.items()} == {
        "adam": (0, 24),
        "micro_adam": (8, 24),
        "micro_adam_var": (16, 24),
        "micro_adam+clip": (0, 24),
        "micro_adam_var+clip": (8, 24),
    }
    stable = {r["arm"]: r["value"] for r in claim_rows(RECORDS) if r["metric"] == "max_stable_relative_lr"}
    assert stable["adam"] == 32
    assert stable["micro_adam_var"] == 2


def test_a_stable_rate_on_the_end_of_its_search_is_told_as_a_bound():
    """Adam never diverges up to the highest multiple, 32; MicroAdamVar does beyond 2."""
    told = tables.results_table(RECORDS).set_index("arm")["stable LR"]
    assert (told["Adam"], told["MicroAdamVar"]) == ("≥ 32.0", "2.00")


def test_a_diverged_fresh_run_is_a_row_that_says_so_and_enters_no_mean():
    lost = study_records(
        lambda s: s.tags["phase"] == "fresh" and (s.tags["arm"], s.seed, s.tags["part"]) == ("c=4", 1, "language")
    )
    (row,) = [r for r in claim_rows(lost) if r["metric"] == "test_loss" and r["diverged"]]
    assert (row["arm"], row["seed"], row["value"]) == ("c=4", 1, None)
    assert sorted(Outcomes(lost).part("language").fresh.arm("c=4").ends()) == [0, 2, 3, 4]
    line = tables.results_table(lost).set_index("arm").loc["c = 4"]
    assert line["div."] == "1/5"
    assert line["steps"].endswith("(1 missed)")


# -- tables, numbers, figures


def test_the_results_table_has_a_line_an_arm_and_differences_are_paired():
    """Arms lie 0.1 apart per rung; the seeds' own offsets cancel in the difference."""
    table = tables.results_table(RECORDS).set_index("arm")
    assert len(table) == len(arms_in("language"))
    assert float(table.loc["MicroAdam", "minus Adam [95 %]"].split()[0]) == pytest.approx(0.2, abs=0.005)
    assert table.loc["Adam", "minus Adam [95 %]"] == ""
    assert table.loc["MicroAdamVar", "div. above"] == "16/24"
    assert table.loc["c = 4", "div. above"] == "", "no stability runs"


def test_the_image_table_says_nothing_of_stability():
    assert list(tables.results_table(RECORDS, "images").columns) == [
        "arm",
        "LR",
        "test loss [95 %]",
        "minus Adam [95 %]",
        "div.",
    ]


def test_the_tuning_table_covers_both_tasks():
    table = tables.tuning_table(RECORDS)
    assert len(table) == len(arms_in("language")) + len(arms_in("images"))
    assert set(table["trials"]) == {3}
    assert set(table["on edge"]) == {"no"}


def test_the_scaling_table_ends_with_the_spreads():
    table = tables.scaling_table(RECORDS)
    assert list(table["B"]) == ["4", "8", "16", "spread"]
    assert float(table["LR as B"].iloc[-1]) == pytest.approx(0.1875, abs=0.003)


def test_numbers_have_printable_keys_and_say_what_was_run():
    found = numbers(RECORDS)
    assert all(KEY.fullmatch(key) for key in found)
    assert all(found.values())
    assert found["adam/tokens"] == "1,024"
    curves = [r.curves["clipped_share"].y for r in RECORDS if "clipped_share" in r.curves]
    assert found["adam/clipped"] == f"{sum(100 * sum(y) / len(y) for y in curves) / len(curves):.1f}" + r"\,\%"
    assert found["adam/share-own"] == "0.50"
    assert found["adam/order"].startswith("MicroAdamMSQ, Adam, c = 0.25")
    assert found["adam/decay-gap"].startswith("0.2")


def test_a_run_that_several_parts_share_is_counted_once():
    """At B = 8 the three rules are Adam's own five runs; of 120 stability runs 8 + 16 + 8 diverge."""
    found = numbers(RECORDS)
    assert found["adam/runs"] == str(len(RECORDS) - 3 * 5)
    assert found["adam/diverged"] == (
        "of which 32 became non-finite or ended above their untrained model, "
        "all of them on purpose in the search for the largest stable learning rate"
    )
    assert found["adam/edges"] == "0"
    assert (found["adam/share-largest"], found["adam/largest-batch"]) == ("0.67", "16")


def test_a_rule_that_diverges_at_a_size_has_no_spread():
    lost = study_records(lambda s: (s.tags["arm"], s.batch_size) == ("lr~B^1", 16))
    assert list(tables.scaling_table(lost)["LR as B"].iloc[-2:]) == ["diverged", "infinite"]
    assert numbers(lost)["adam/spread/1"] == "no finite spread"


CASES = {
    "as usual": None,
    "MicroAdamVar always diverges": lambda s: s.optimizer.options["preconditioner"] == "variance",
    "one rule diverges": lambda s: (s.tags["part"], s.tags["arm"]) == ("scaling", "lr~B^1") and s.batch_size == 16,
    "all fresh runs but Adam's diverge": lambda s: s.tags["phase"] == "fresh" and s.tags["arm"] != "adam",
    "Adam's fresh runs diverge": lambda s: s.tags["phase"] == "fresh" and s.tags["arm"] == "adam",
}


@pytest.mark.parametrize("lost", CASES.values(), ids=CASES)
def test_everything_is_drawn_and_counted_whatever_diverged(lost, tmp_path):
    records = study_records(lost)
    drawn = [
        figures.fig_learning_rates(records),
        figures.fig_learning_rates(records, "images"),
        figures.fig_coefficient(records),
        figures.fig_stability(records),
        batches.fig_split(records),
        batches.fig_scaling(records),
    ]
    for figure in drawn:
        figure.set_layout_engine("none")  # half of the time, and matplotlib's own matter
        figure.draw_without_rendering()
    made = [tables.results_table(records), tables.tuning_table(records), tables.scaling_table(records)]
    assert all(to_latex(table) for table in made)
    Exporter(tmp_path, notebook="02_micro_adam", preset="smoke", records=records).numbers(numbers(records))
    assert {v["verdict"] for v in verdicts(records).values()} <= {
        *("reproduced", "not reproduced", "inconclusive", "not tested")
    }


def test_the_figure_of_stability_shows_rates_a_hair_apart_and_clipped_arms_dashed():
    axis, limits = figures.fig_stability(RECORDS).axes
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["MicroAdamVar"].get_xdata().tolist() == [2, 8, 32]
    assert lines["MicroAdamVar"].get_ydata().tolist() == pytest.approx([0, 1, 1], abs=0.05)
    assert lines["Adam"].get_ydata().tolist() == pytest.approx([0, 0, 0], abs=0.05)
    assert {label for label, line in lines.items() if line.get_linestyle() == "--"} == {
        *("MicroAdam, clipped", "MicroAdamVar, clipped")
    }
    assert [text.get_text() for text in limits.get_yticklabels()] == list(lines)


def test_the_figure_of_c_compares_every_other_plain_arm_with_adam():
    losses, gaps = figures.fig_coefficient(RECORDS).axes
    assert [text.get_text() for text in losses.get_xticklabels()] == ["0", "1/B", "¼", "1", "4", "∞"]
    assert (len(losses.containers), len(gaps.containers)) == (6, 5)


def test_batch_sizes_are_drawn_over_equal_tokens():
    """64 examples of 16 bytes; the first of four evaluations is at a quarter, the split is also taken before."""
    *rules, _ = batches.fig_scaling(RECORDS).axes
    for line in (line for axis in rules for line in axis.lines):
        assert line.get_xdata()[[0, -1]].tolist() == pytest.approx([0.256, 1.024])
    over_time = batches.fig_split(RECORDS).axes[0].lines
    drawn = {line.get_label(): line for line in over_time if line.get_label().startswith("B = ")}
    assert list(drawn) == ["B = 4", "B = 8", "B = 16"]
    assert drawn["B = 16"].get_xdata().tolist() == pytest.approx([0, 1.024])
    assert drawn["B = 16"].get_ydata().tolist() == pytest.approx([2 / 3, 2 / 3])


def test_one_seed_is_drawn_without_intervals():
    records = study_records(sizes=SIZES._replace(seeds=(1, 1)))
    for figure in (figures.fig_coefficient(records), batches.fig_scaling(records)):
        figure.draw_without_rendering()
        bars = [bar for axis in figure.axes for bar in axis.containers]
        assert bars
        assert not any(bar.has_yerr for bar in bars)


def test_a_variant_looks_like_its_method_and_says_what_it_is():
    for arm in ARMS.values():
        plain = next(other for other in ARMS.values() if other.preconditioner == arm.preconditioner and other.plain)
        assert (arm.color, arm.marker, arm.c, arm.statistic) == (plain.color, plain.marker, plain.c, plain.statistic)
        assert arm.label == plain.label + ", clipped" * arm.clip + ", decay 0.1" * arm.decay


def test_numbers_stand_where_tuning_left_adam_no_fresh_run():
    """As at preset smoke, where a few steps end above the untrained model."""
    lost = [run for run in RECORDS if (run.spec.tags["arm"], run.spec.tags["phase"]) != ("adam", "fresh")]
    texts, whole = numbers(lost), numbers(RECORDS)
    assert texts["adam/fresh-seeds"] == "5"  # of the other arms
    assert [texts[key] == whole[key] for key in ("adam/steps", "adam/images/steps", "adam/parameters")] == [True] * 3
