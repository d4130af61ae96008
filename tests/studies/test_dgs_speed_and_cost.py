"""Survival curves and rises of the DGS study, and its cost from a benchmark's record. By hand."""

import math
from pathlib import Path

import pytest

import dgs_records
from regrad.claims.load import load
from regrad.claims.verdicts import decide
from regrad.report.outcomes import Outcomes
from regrad.studies.dgs import cost as dgs_cost
from regrad.studies.dgs.quantities import image_runs, target
from regrad.studies.dgs.speed import SHOWN, censored, fig_speed, largest_rise, rises, speed_numbers, survival

ROOT = Path(__file__).parents[2]
RECORDS = dgs_records.study_records()


def test_the_survival_curve_by_hand():
    """Five runs: two at the target after 10 steps, one after 30, two never in 50: 3/5, then 2/5 to the end."""
    times = [30.0, 10.0, math.inf, 10.0, math.inf]
    corners = survival(times, 50.0)
    assert [place for place, _ in corners] == [0.0, 10.0, 30.0, 50.0]
    assert [share for _, share in corners] == pytest.approx([1.0, 0.6, 0.4, 0.4])
    assert censored(dict(enumerate(times))) == 2


def test_nobody_or_everybody_at_the_target():
    assert survival([math.inf] * 3, 9.0) == [(0.0, 1.0), (9.0, 1.0)]
    assert survival([4.0, 4.0], 9.0) == [(0.0, 1.0), (4.0, 0.0), (9.0, 0.0)]


def test_the_largest_rise_is_between_neighbours_and_never_negative():
    record = next(r for r in RECORDS if len(r.curves["validation_loss"].y) > 1)
    curve = record.curves["validation_loss"]
    for losses, rise in (([2.0, 1.0, 1.4, 1.1, 1.3], 0.4), ([3.0, 2.0], 0.0), ([3.0], 0.0)):
        changed = curve.model_copy(update={"x": [float(k) for k in range(len(losses))], "y": losses})
        assert largest_rise(record.model_copy(update={"curves": {"validation_loss": changed}})) == pytest.approx(rise)


def test_constructed_runs_fall_in_a_straight_line_and_some_miss():
    numbers = speed_numbers(RECORDS)
    assert numbers["dgs/speed/rises"] == "0"
    for arm in ("adam", "S1"):
        for model in ("resnet20", "resnet32"):
            runs = image_runs(Outcomes(RECORDS), arm, model)
            assert set(runs.steps_to(target(Outcomes(RECORDS)))) == {0, 1, 2, 3, 4}
            assert rises(runs) == [0.0] * 5
    assert len(fig_speed(RECORDS).axes) == 3


def test_a_cross_ends_the_curve_of_an_arm_with_seeds_that_never_get_there():
    axis = fig_speed(RECORDS).axes[1]
    crosses = [line for line in axis.lines if line.get_marker() == "x"]
    runs = [image_runs(Outcomes(RECORDS), arm, "resnet32") for arm in SHOWN]
    missing = [own for own in runs if censored(own.steps_to(target(Outcomes(RECORDS))))]
    assert len(crosses) == len(missing) > 0
    assert all(list(line.get_xdata()) == [RECORDS[0].spec.steps] for line in crosses)


def test_a_run_that_ended_above_its_untrained_model_rose_and_one_that_became_non_finite_has_no_rise():
    spec = RECORDS[0].spec
    assert rises([dgs_records.record(spec, risen=True)])[0] > 0
    assert rises([dgs_records.record(spec, lost=True)]) == []


MEASURED = {
    "environment": {"cpu": "Some CPU", "torch": "2.13.0", "threads": 1},
    "bytes": {"Adam": 8.0, "steps": 0.0},
    "networks": {
        "ResNet-20": {
            "parameters": 270_000,
            "microseconds": {"SGD": 100.0, "Adam": 400.0, "Adam(0, 0)": 380.0, "equation": 120.0, "steps": 190.0},
            "equation / SGD": 1.2,
            "rounds": {
                "SGD": [100.0, 100.0],
                "Adam": [400.0, 400.0],
                "Adam(0, 0)": [380.0, 380.0],
                "equation": [120.0, 120.0],
                "steps": [190.0, 210.0],
            },
        },
        "4 matrices": {
            "parameters": 4_000_000,
            "microseconds": {"SGD": 1000.0, "Adam": 5000.0, "Adam(0, 0)": 5000.0, "equation": 2000.0, "steps": 2500.0},
            "equation / SGD": 2.0,
            "rounds": {},
        },
    },
}


def test_the_cost_table_has_ratios_to_sgd():
    lines = dgs_cost.cost_table(MEASURED).to_dict("records")
    assert lines[0]["SGD (ms)"] == "0.10"
    assert (lines[0]["Adam"], lines[0]["equation"], lines[0]["steps"]) == ("4.00", "1.20", "1.90")
    assert (lines[1]["weights (M)"], lines[1]["steps"]) == ("4.00", "2.50")


def test_the_rows_of_the_claim_on_cost_are_seconds():
    rows = [row for row in dgs_cost.claim_rows(MEASURED) if row["arm"] == "S1"]
    assert [row["value"] for row in rows] == pytest.approx([190e-6, 210e-6])


def test_the_prose_cites_ratios_of_medians():
    """Medians: S1 200, Adam 400, Adam (0, 0) 380, E1 120, SGD 100."""
    found = dgs_cost.cost_numbers(MEASURED)
    assert (found["dgs/cost/S1-adam"], found["dgs/cost/S1-adam00"]) == ("0.50", "0.53")
    assert (found["dgs/cost/E1-sgd"], found["dgs/cost/E1-large"]) == ("1.20", "2.00")
    assert found["dgs/cost/machine"] == "Some CPU, torch 2.13.0, 1 thread, medians of 2 rounds of CPU time"


def cheap(factor):
    """A record of 20 rounds in which S1 takes ``factor`` times Adam's step."""
    rounds = {"SGD": [1.0] * 20, "Adam": [400.0 + k for k in range(20)]}
    rounds["steps"] = [factor * value for value in rounds["Adam"]]
    return {"networks": {"ResNet-20": {"rounds": rounds}}}


def test_the_claim_on_cost_is_decided_by_the_rounds_at_preset_small_and_not_at_smoke():
    ledger = ROOT / "paper" / "claims.toml"
    assert next(claim for claim in load(ledger) if claim.id == "DGS-C7").study == "dgs"
    cases = ((0.5, "small", "reproduced"), (1.3, "small", "not reproduced"), (0.5, "smoke", "not tested"))
    for factor, preset, word in cases:
        rows = dgs_cost.claim_rows(cheap(factor))
        found = {v["id"]: v for v in decide(ledger, "dgs", lambda _, rows=rows: rows, RECORDS, preset=preset)}
        assert found["DGS-C7"]["verdict"] == word


def test_the_committed_record_has_every_round_of_the_claims_arms():
    found = dgs_cost.claim_rows(dgs_cost.benchmark(ROOT))
    assert len([row for row in found if row["arm"] == "S1"]) == len([r for r in found if r["arm"] == "adam"]) >= 20
    assert dgs_cost.cost_numbers(dgs_cost.benchmark(ROOT))["dgs/cost/bytes-S1"] == "0.0"
