"""What is read from ALSDGC's records, with the numbers worked out by hand."""

import math

import pytest

import alsdgc_records
from regrad.report.outcomes import Outcomes
from regrad.results import Curve
from regrad.studies.alsdgc import tables
from regrad.studies.alsdgc.figures import fig_spikes
from regrad.studies.alsdgc.numbers import numbers
from regrad.studies.alsdgc.quantities import (
    best_fixed,
    matched,
    multiple,
    rates_by_seed,
    recovery,
    runs,
    time_to,
    value_at,
    width,
    widths,
)

OUTCOMES = Outcomes(alsdgc_records.study_records())


def test_the_norm_that_tuned_best_is_the_control():
    """Losses 1.5 for norm 3, 1.6 for norm 1, 1.8 for the others."""
    assert best_fixed(OUTCOMES, "plain") == "clip-3"


def test_recovery_counts_steps_back_to_the_loss_before_the_bad_batch():
    """Bad batch at step 2, loss 1.8; V4 has 1.8 again at step 4, norm 1 never does."""
    assert recovery(runs(OUTCOMES, "spikes", "V4").records[0]) == 2.0
    assert recovery(runs(OUTCOMES, "spikes", "clip-1").records[0]) == math.inf


def test_recovery_is_to_within_two_hundredths_of_a_nat():
    spiked = runs(OUTCOMES, "spikes", "V4").records[0]
    for back, steps in ((1.81, 1.0), (1.83, math.inf)):
        curve = Curve(x=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], y=[2.0, 1.9, 1.8, back, 2.8, 2.8])
        assert recovery(spiked.model_copy(update={"curves": {"validation_loss": curve}})) == steps


def test_width_ends_where_the_loss_is_five_percent_above_the_best():
    """Losses 5 % up a doubling: half a decade's share, log10 2, to either side."""
    assert widths(OUTCOMES, "V4")[0] == pytest.approx(2 * 0.30103, abs=1e-3)


def test_the_width_ends_at_the_last_good_rate_before_a_diverged_one():
    """All five end alike, log10 16 = 1.204; with the one at twice the optimum lost, from a quarter to it, log10 4."""
    grid = rates_by_seed(OUTCOMES, "V4")[0]
    assert [multiple(run) for run in grid] == [0.25, 0.5, 1.0, 2.0, 4.0]
    start = Curve(x=[0.0, 1.0], y=[2.3, 1.4])
    flat = [run.model_copy(update={"curves": {"validation_loss": start}}) for run in grid]
    assert width(flat) == pytest.approx(1.2041, abs=1e-4)
    assert width([*flat[:3], flat[3].model_copy(update={"status": "diverged"}), flat[4]]) == pytest.approx(0.60206)
    assert width([run.model_copy(update={"status": "diverged"}) for run in flat]) == 0.0


def test_a_run_that_starts_below_the_target_needs_one_step_and_no_run_none_at_all():
    run = runs(OUTCOMES, "plain", "V4").records[0]
    assert time_to(run, 5.0) == 1.0
    assert time_to(None, 5.0) == math.inf


def test_a_curve_is_linear_between_its_points():
    assert value_at(Curve(x=[0.0, 2.0], y=[1.0, 3.0]), 0.5) == 1.5


def test_an_arm_that_tuning_left_without_a_learning_rate_is_said_to_have_diverged():
    """V0 diverges at all three rates on the RNN: no fresh run, and texts and tables say why."""
    assert not runs(OUTCOMES, "rnn", "V0")
    assert numbers(OUTCOMES)["alsdgc/rnn/V0-diverged"] == "3 of 3 in tuning"
    assert numbers(OUTCOMES)["alsdgc/fp16/v0-diverged"] == "5 of 5"
    tuning = tables.tuning_table(OUTCOMES).set_index("arm")
    assert tuning.loc["as printed", "RNN, pixels"] == "diverged* (3)"


def test_a_row_of_the_results_says_rate_loss_difference_speed_and_divergences():
    """Norm 1 ends at 1.6 + 0.1 with jitter of at most 0.003, the best norm, 3, at 1.5 + 0.1."""
    table = tables.results_table(OUTCOMES).set_index("arm")
    assert table.loc["norm 3 (best norm)", "minus best norm [95 %]"] == ""
    assert table.loc["norm 1", "test loss [95 %]"].startswith("1.70")
    assert table.loc["norm 1", "minus best norm [95 %]"].startswith(("0.10", "0.099"))
    assert table.loc["norm 1", "LR"] == "0.10"
    assert table.loc["norm 1", "div."] == "0/5"


def test_a_run_that_reached_the_target_and_then_diverged_is_counted_with_the_diverged_alone():
    """Two of V4's five runs start at 2.3 and end at 9 by way of 1.0, below the target of 1.75."""
    lost = runs(OUTCOMES, "plain", "V4").records[:2]
    curves = {"validation_loss": Curve(x=[0.0, 1.5, 3.0], y=[2.3, 1.0, 9.0])}
    ruined = [r.model_copy(update={"curves": curves}) if any(r is one for one in lost) else r for r in OUTCOMES]
    line = tables.results_table(ruined).set_index("arm").loc["repaired"]
    assert (line["div."], line["steps"]) == ("2/5", "1.83")


def test_where_the_repaired_rules_never_clipped_is_said_and_nothing_where_they_did():
    assert numbers(OUTCOMES)["alsdgc/V4-idle"] == ""
    never = [
        r.model_copy(update={"metrics": r.metrics | {"scaler/clipped": 0.0}})
        if (r.spec.tags["part"], r.spec.tags["arm"]) == ("resnet", "V4") and r.metrics
        else r
        for r in OUTCOMES
    ]
    said = numbers(Outcomes(never))["alsdgc/V4-idle"]
    assert said == "On ResNet they never clipped, and are no clipping bit for bit."


def test_the_prose_calls_the_best_norm_by_its_number():
    assert numbers(OUTCOMES)["alsdgc/plain/best-norm"] == "3"


def test_losses_are_matched_where_the_training_loss_first_falls_to_one_level():
    """Training losses end at 1 and 2: the level is 2. The first is at 2 in the middle, with test loss 2.1."""
    first, second = (runs(OUTCOMES, "plain", arm).records[0] for arm in ("V4", "clip-1"))

    def with_curves(run, train, test):
        curves = {"train_loss": Curve(x=[0.0, 2.0], y=train), "test_loss": Curve(x=[0.0, 2.0], y=test)}
        return run.model_copy(update={"curves": run.curves | curves})

    values = matched(
        {"a": with_curves(first, [3.0, 1.0], [3.1, 1.1]), "b": with_curves(second, [3.0, 2.0], [4.0, 3.0])}
    )
    assert values == {"a": pytest.approx(2.1), "b": pytest.approx(3.0)}


def test_figures_and_numbers_stand_where_tuning_left_no_arm_a_fresh_run():
    """As at preset smoke, where a few steps end above the untrained model."""
    tuned = OUTCOMES.tuning
    assert not numbers(tuned)["alsdgc/adam/V0"]
    assert numbers(tuned)["alsdgc/plain/steps"] == numbers(OUTCOMES)["alsdgc/plain/steps"]
    assert not fig_spikes(tuned).axes[0].lines
