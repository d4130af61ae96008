"""The DGS study's rows, tables, numbers and figures, from records made by hand."""

import math
from pathlib import Path

import pytest

from dgs_records import LOSS, OFF, REPAIRED, SIZES, record, study_records
from regrad.report.latex import escape_tex
from regrad.report.ledger.verdicts import decide
from regrad.studies.dgs import figures as dgs_figures
from regrad.studies.dgs import tables as dgs_tables
from regrad.studies.dgs.arms import READINGS, arms_in
from regrad.studies.dgs.claims import claim_rows, proofs
from regrad.studies.dgs.document import TABLES
from regrad.studies.dgs.numbers import numbers
from regrad.studies.dgs.rows import ends, off_optimum, runs, speed, target
from regrad.studies.dgs.study import STUDY

LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"
CURVES = {
    "magnitudes": [0.1, 1.0, 10.0],
    "sizes": {name: [0.1, 1.0, 10.0] for name in (*READINGS, "inverse")},
    "counts": [100, 1000],
    "norms": {"E1": [0.1, 0.01], "E1 1/n": [0.1, 0.3], "S1": [0.1, 0.3]},
}


def verdicts(records, passed=()):
    found = decide(LEDGER, STUDY.name, claim_rows(records, passed), preset="small", records=records)
    return {row["id"]: row for row in found}


def test_the_target_is_the_slowest_of_the_compared_arms_in_tuning_plus_its_slack():
    # tuning at the middle of each grid: S1 has the highest loss of LARS, Adam and S1; its tuning run has a jitter
    best = min(r.metrics["validation_loss"] for r in tuning("S1"))
    assert target(study_records()) == pytest.approx(best + 0.05)


def tuning(arm):
    about = ("images", arm, "tune")
    tags = [(r, r.spec.tags) for r in study_records()]
    return [r for r, t in tags if (t["part"], t["arm"], t["phase"]) == about]


def test_the_steps_to_the_target_are_read_off_the_straight_line():
    # from 2.3 to L over 2 steps: the target T is crossed after 2 (2.3 - T)/(2.3 - L)
    records = study_records()
    last = runs(records, "images", "adam", model="resnet20")[0].metrics["validation_loss"]
    assert speed(records, "adam", "resnet20")[0] == pytest.approx(2 * (2.3 - target(records)) / (2.3 - last))


@pytest.mark.parametrize("arm", ["sgd", "S1"])
def test_the_cost_of_a_wrong_rate_is_the_mean_rise_over_the_optimum(arm):
    # multiples 0.1 and 10 are one decade off each; the jitters are the same
    assert off_optimum(study_records(), arm) == pytest.approx(dict.fromkeys(range(5), OFF[arm]))


def test_a_run_that_became_non_finite_off_the_optimum_makes_its_seed_infinite():
    records = [
        record(r.spec, lost=(r.spec.tags.get("multiple"), r.spec.tags["arm"], r.spec.seed) == ("10", "S1", 2))
        for r in study_records()
    ]
    assert math.isinf(off_optimum(records, "S1")[2])
    rows = [r for r in claim_rows(records, []) if (r["metric"], r["arm"]) == ("off_optimum_loss", "S1")]
    assert [r["seed"] for r in rows if r["value"] is None] == [2]


def test_verdicts_follow_the_constructed_losses():
    found = verdicts(study_records())
    # accuracy is 1 - loss/4 and S1 is worse than Adam and LARS in LOSS
    assert LOSS["S1"] > LOSS["lars"] > LOSS["adam"]
    for claim in ("DGS-C1", "DGS-C3", "DGS-C8t", "DGS-C8o"):
        assert found[claim]["verdict"] == "not reproduced", found[claim]["why"]
    assert found["DGS-C7"]["verdict"] == "not tested"


def test_refuted_by_construction_needs_the_proof_to_have_passed():
    names = proofs(LEDGER, STUDY.name)
    assert verdicts(study_records())["DGS-T1"]["verdict"] == "not tested"
    passed = [{"proof": name, "passed": True} for name in names]
    found = verdicts(study_records(), passed)
    for claim in ("DGS-C0", "DGS-C5", "DGS-C6", *(f"DGS-T{k}" for k in range(1, 10))):
        assert found[claim]["verdict"] == "refuted by construction"


def test_a_diverged_run_is_a_row_without_a_value():
    lost = [record(r.spec, lost=True) if r.spec.tags["part"] == "language" else r for r in study_records()]
    rows = [r for r in claim_rows(lost, []) if r["arm"] == "S1@language"]
    assert [(r["diverged"], r["value"]) for r in rows] == [(True, None)] * 5


def test_accuracies_are_per_cent():
    found = ends(runs(study_records(), "images", "adam", model="resnet20"), "test_accuracy")
    last = runs(study_records(), "images", "adam", model="resnet20")[0].metrics["validation_loss"]
    assert found[0] == pytest.approx(100 - 25 * last)


def test_every_printed_cell_has_a_measured_counterpart():
    for base in ("lars", "adam"):
        frame = dgs_tables.spiking_table(study_records(), base)
        assert len(frame) == 4
        assert (frame["ours, % [95 %]"] != "").all()
        printed = [cell for (b, *_), cells in TABLES.items() if b == base for cell in cells]
        assert list(frame["theirs, %"]) == [f"{cell.accuracy:g}" for cell in printed]
        assert list(frame["theirs, K"]) == [str(cell.spikes) for cell in printed]


def test_tables_have_a_line_for_every_arm_and_cell():
    records = study_records()
    assert len(dgs_tables.images_table(records)) == len(arms_in("images"))
    assert len(dgs_tables.reset_table(records)) == 6
    assert len(dgs_tables.beyond_table(records)) == 12
    assert len(dgs_tables.tuning_table(records)) == 12 + 4 + 3 * 4
    assert list(dgs_tables.repaired_table(REPAIRED)["bit-identical"]) == ["yes", "yes", "no"]


def test_no_number_has_a_character_that_latex_would_execute():
    for value in numbers(study_records(), REPAIRED).values():
        assert escape_tex(value).replace("{-}", "-") == value


@pytest.mark.parametrize("lost", [False, True])
def test_the_figures_draw_whatever_diverged(lost):
    kept = study_records()
    records = [record(r.spec, lost=lost and r.spec.tags["arm"] in ("lars", "lars+dgs", "S1")) for r in kept]
    for figure in (dgs_figures.fig_bars(records), dgs_figures.fig_theorems(CURVES, records)):
        assert figure.axes
    assert dgs_figures.fig_learning_rates(records).axes
    assert len(dgs_tables.images_table(records)) == len(arms_in("images"))
    assert numbers(records, REPAIRED)


def test_the_constructed_sizes_have_five_seeds_as_the_claims_ask():
    assert SIZES.seeds == (1, 5)
