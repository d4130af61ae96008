"""What is read from ALSDGC's records, with the numbers worked out by hand."""

import pytest

import alsdgc_records
from regrad.report.outcomes import Outcomes
from regrad.results import Curve
from regrad.studies.alsdgc.quantities import best_fixed, recovery, runs, value_at, widths

OUTCOMES = Outcomes(alsdgc_records.study_records())


def test_the_norm_that_tuned_best_is_the_control():
    """Losses 1.5 for norm 3, 1.6 for norm 1, 1.8 for the others."""
    assert best_fixed(OUTCOMES, "plain") == "clip-3"


def test_recovery_counts_steps_back_to_the_loss_before_the_bad_batch():
    """Bad batch at step 2, loss 1.8; V4 has 1.8 again at step 4, norm 1 never does in 5 steps."""
    assert recovery(runs(OUTCOMES, "spikes", "V4").records[0]) == 2.0
    assert recovery(runs(OUTCOMES, "spikes", "clip-1").records[0]) == 3.0


def test_width_ends_where_the_loss_is_five_percent_above_the_best():
    """Losses 5 % up a doubling: half a decade's share, log10 2, to either side."""
    assert widths(OUTCOMES, "V4")[0] == pytest.approx(2 * 0.30103, abs=1e-3)


def test_a_curve_is_linear_between_its_points():
    assert value_at(Curve(x=[0.0, 2.0], y=[1.0, 3.0]), 0.5) == 1.5
