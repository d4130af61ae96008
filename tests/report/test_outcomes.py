"""Records asked for in words, on a study of six runs worked out by hand."""

import math

import pytest

from regrad.report.outcomes import Outcomes, steps_to
from regrad.results import Curve
from tiny_runs import record, sgd, spec


def run(arm, seed, losses, *, lr=0.1, phase="fresh", part="main", status="finished"):
    """A record of four steps whose validation loss is taken at 0, 2 and 4."""
    tagged = spec(optimizer=sgd(lr), seed=seed, steps=4, tags={"part": part, "arm": arm, "phase": phase})
    metrics = {"validation_loss": losses[-1], "test_loss": losses[-1] + 1, "test_accuracy": 1 - losses[-1] / 10}
    curve = Curve(x=[0.0, 2.0, 4.0][: len(losses)], y=losses)
    metrics = metrics if status == "finished" else {}
    return record(tagged, run_id=f"{arm}{seed}{lr}", status=status, metrics=metrics, curves={"validation_loss": curve})


RECORDS = [
    run("a", 1000, [5.0, 3.0, 2.0], lr=0.1, phase="tune"),
    run("a", 1000, [5.0, 4.0, 3.0], lr=0.2, phase="tune"),
    run("a", 1, [5.0, 3.0, 2.0]),
    run("a", 0, [5.0, 4.0, 1.0]),
    run("b", 0, [5.0, 4.0, 3.0]),
    run("b", 1, [5.0, 6.0, 7.0]),  # it ended above its untrained model: it diverged
    run("b", 2, [5.0], status="diverged"),
]
OUTCOMES = Outcomes(RECORDS)
A, B = OUTCOMES.arm("a").fresh, OUTCOMES.arm("b").fresh


def test_filters_keep_the_order_of_the_plan():
    assert OUTCOMES.arms == ["a", "b"]
    assert (len(OUTCOMES.tuning), len(OUTCOMES.results)) == (2, 5)
    assert [r.spec.seed for r in A] == [1, 0]
    assert list(A.by_seed) == [0, 1]
    assert len(OUTCOMES.part("main").arm("a", "b")) == 7
    assert len(OUTCOMES.part("other")) == 0


def test_a_run_diverged_if_it_became_non_finite_or_ended_above_its_untrained_model():
    assert [r.diverged for r in B] == [False, True, True]
    assert [r.finite for r in B] == [True, True, False]
    assert B.diverged == 2
    assert A.diverged == 0


def test_final_numbers_leave_out_what_diverged_and_pair_by_seed():
    assert A.ends() == {0: 2.0, 1: 3.0}
    assert B.ends() == {0: 4.0}
    assert B.ends("test_accuracy") == {0: pytest.approx(70.0)}, "in per cent"
    assert A.mean().estimate == 2.5
    assert A.differences(B) == [-2.0]
    assert A.gap(B).estimate == -2.0
    assert A.gap(B.where(arm="nobody")) is None
    assert OUTCOMES.where(arm="nobody").mean() is None


def test_the_target_is_what_the_slowest_arm_tuned_to_plus_the_slack():
    assert OUTCOMES.choices()["a"].best == 0.1
    assert OUTCOMES.target(["a"], 0.5) == 2.5
    assert OUTCOMES.target(["b"], 0.5) == math.inf


def test_time_to_a_target_is_linear_between_evaluations():
    assert A.steps_to(2.5) == {0: 3.0, 1: 3.0}  # from 4 to 1, and from 3 to 2, over steps 2 to 4
    assert steps_to(RECORDS[2], 5.0) == 0.0, "it starts there"
    assert steps_to(RECORDS[2], 1.9) == math.inf
    assert B.steps_to(3.5)[0] == 3.0
    assert B.steps_to(3.5)[2] == math.inf


def test_curves_are_those_of_runs_that_did_not_diverge():
    assert A.mean_curve() == ([0.0, 2.0, 4.0], [5.0, 3.5, 1.5])
    assert B.curve() == ([0.0, 2.0, 4.0], [[5.0], [4.0], [3.0]])
    assert B.where(arm="nobody").curve() == ([], [])
