"""Tables, numbers and claim rows of the sign study, from records made by hand."""

import math
from pathlib import Path
from statistics import NormalDist

import pytest

from regrad.claims.verdicts import decide, scale_label
from regrad.report.tables import to_latex
from regrad.results import Curve
from regrad.studies.sign_placement import tables
from regrad.studies.sign_placement.arms import ARMS, arms_of
from regrad.studies.sign_placement.claims import claim_rows
from regrad.studies.sign_placement.noise import mean_predicted_snr, predicted_snr, values_by_parameter
from regrad.studies.sign_placement.numbers import numbers
from regrad.studies.sign_placement.runtime.gradient_noise import GradientNoise
from regrad.studies.sign_placement.study import STUDY
from sign_records import CASES, LAYERS, LOSS, SHARE, noise_curves, record, study_records

LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"
EMA = "sign of the moving average"


@pytest.mark.parametrize("case", CASES)
def test_tables_numbers_and_rows_are_made_whatever_diverged_or_is_missing(case):
    records = study_records(**CASES[case])
    for frame in (tables.results_table(records), tables.tuning_table(records)):
        assert list(frame["placement"]) == [arm.label for arm in arms_of(records)]
        assert "tabular" in to_latex(frame)
    values = numbers(records)
    assert all(isinstance(text, str) for text in values.values())
    assert not any("nan" in text or "inf" in text for text in values.values())
    assert claim_rows(records)


def test_arms_are_in_the_order_of_the_sign():
    assert [arm.name for arm in arms_of(study_records()[::-1])] == ["example", "group-4", "batch", "ema"]


def test_every_arm_has_its_own_colour_marker_and_label():
    styles = [tuple(arm.style.values()) for arm in ARMS.values()]
    for column in zip(*styles, strict=True):
        assert len(set(column)) == len(styles), column
    assert all(arm.label == f"sign of {arm.signed}" for arm in ARMS.values())


def test_claim_rows_by_hand():
    rows = claim_rows(study_records(seeds=2))
    loss = {(r["arm"], r["seed"]): r["value"] for r in rows if r["metric"] == "test_loss"}
    assert len(loss) == 8
    assert loss["example", 1] == pytest.approx(2.41)  # 2.4 nats and 0.01 for the seed
    assert loss["ema", 0] == pytest.approx(2.0)
    scores = {(r["arm"], r["seed"]): r["value"] for r in rows if r["metric"] == "predicted_snr"}
    assert len(scores) == 8
    assert scores["ema", 0] == pytest.approx(NormalDist().inv_cdf(0.8))
    assert all("metric" in r for r in rows)


def test_tuning_runs_never_become_claim_rows():
    assert {r["seed"] for r in claim_rows(study_records(seeds=3))} == {0, 1, 2}


def test_a_diverged_run_is_a_claim_row_without_a_value_and_predicts_nothing():
    rows = claim_rows(study_records(diverged=("batch/1", "ema/0")))
    lost = [(r["arm"], r["seed"], r["value"]) for r in rows if r["diverged"]]
    assert lost == [("batch", 1, None), ("ema", 0, None)]
    assert {r["seed"] for r in rows if r["metric"] == "predicted_snr"} == {1, 2}


def test_a_run_that_ended_above_its_untrained_model_predicts_nothing_whatever_it_measured():
    records = study_records()
    for place, r in enumerate(records):
        if (r.spec.tags["arm"], r.spec.seed) == ("ema", 1):
            risen = Curve(x=[0.0, 25.0], y=[5.5, 5.6])
            records[place] = r.model_copy(update={"curves": r.curves | {"validation_loss": risen}})
    assert {r["seed"] for r in claim_rows(records) if r["metric"] == "predicted_snr"} == {0, 2}


def test_predictions_are_averaged_over_seeds():
    first, second = (record("ema", 0.002, seed, "fresh") for seed in (0, 1))
    share = {"noise/all/resampled_right/ema": Curve(x=[0.0], y=[0.5])}  # a coin's: no signal
    second = second.model_copy(update={"curves": second.curves | share})
    assert mean_predicted_snr([first, second])["ema"] == pytest.approx(0.841621 / 2, abs=1e-6)


def test_predicted_snr_by_hand():
    # Shares 0.75 and 0.85 at the two checkpoints: mean 0.8, and the normal distribution reaches 0.8 at 0.8416.
    snr = predicted_snr(record("ema", 0.002, 0, "fresh"))
    assert snr["ema"] == pytest.approx(0.841621, abs=1e-6)
    # 0.6 at 0.2533: the earliest sign.
    assert snr["example"] == pytest.approx(0.253347, abs=1e-6)
    assert set(snr) == set(SHARE)


def test_a_share_of_one_is_a_large_number_and_not_infinite():
    made = record("ema", 0.002, 0, "fresh")
    whole = Curve(x=[0.0], y=[1.0])
    made = made.model_copy(update={"curves": made.curves | {"noise/all/resampled_right/ema": whole}})
    assert 5 < predicted_snr(made)["ema"] < math.inf


def test_numbers_by_hand():
    values = numbers(study_records(seeds=3))
    expected = {
        "sign/parameters": "115,008",
        "sign/batch": "16",
        "sign/length": "32",
        "sign/steps": "25",
        "sign/tokens": "12,800",  # 25 · 16 · 32
        "sign/momentum": "0.9",
        "sign/runs": "24",  # 4 arms: 3 rates, 3 seeds
        "sign/fresh-seeds": "3",
        "sign/diverged": "0",
        "sign/edges": "0",
        "sign/ema/loss": "2.010",  # mean of 2.00, 2.01, 2.02
        "sign/example/gap": "0.400 [0.400, 0.400]",  # the same at every seed
        "sign/ema/lr": "0.0020",
        "sign/observed-order": "the moving average, the batch mean, 4-example means, each example",
        "sign/predicted-order": "the moving average $>$ the batch mean $>$ 4-example means $>$ each example",
    }
    assert {key: values[key] for key in expected} == expected
    assert "sign/ema/gap" not in values


def test_the_order_of_the_records_changes_no_number():
    records = study_records()
    assert numbers(records) == numbers(records[::-1])


def test_an_optimum_at_the_end_of_a_grid_is_counted():
    best = [r for r in study_records() if r.spec.tags["phase"] == "fresh" or r.spec.optimizer.lr >= 0.002]
    assert numbers(best)["sign/edges"] == "1"  # only ema's grid begins below 0.002


def test_an_interval_by_hand():
    # Losses 2.00, 2.01, 2.02: mean 2.01, standard deviation 0.01, t(2, 97.5 %) = 4.30265:
    # half-width 4.30265 · 0.01/√3 = 0.02484.
    table = tables.results_table(study_records(seeds=3)).set_index("placement")
    assert table.loc[EMA].to_dict() == {
        "LR": "0.0020",
        "test loss [95 %]": "2.010 [1.985, 2.035]",
        "minus EMA [95 %]": "",
        "SNR": "0.842",
        "div.": "0/3",
    }
    assert table.loc["sign of the batch mean", "minus EMA [95 %]"] == "0.200 [0.200, 0.200]"


def test_diverged_runs_are_counted_and_enter_no_mean():
    records = study_records(seeds=3, diverged=("ema/2",))
    values = numbers(records)
    assert values["sign/diverged"] == "1"
    assert values["sign/batch/gap"] == "0.200 [0.200, 0.200]"  # the pair of the diverged run is left out
    line = tables.results_table(records).set_index("placement").loc[EMA]
    # 2.00 and 2.01: standard deviation 0.00707, t(1, 97.5 %) = 12.706: half-width 0.0635.
    assert (line["test loss [95 %]"], line["div."]) == ("2.005 [1.941, 2.069]", "1/3")


def test_an_arm_that_diverged_everywhere_has_no_rate_and_no_loss():
    records = study_records(diverged=("example",))
    line = tables.results_table(records).iloc[0]
    assert (line["LR"], line["test loss [95 %]"], line["minus EMA [95 %]"]) == ("none", "diverged", "")
    tuning = tables.tuning_table(records).iloc[0]
    assert tuning["div."] == 3
    assert tuning["best LR"] == "none"
    assert "each example" not in numbers(records)["sign/observed-order"]


def test_a_tuning_table_shows_grid_trials_and_edges():
    line = tables.tuning_table(study_records()).set_index("placement").loc[EMA]
    assert (line["lowest LR"], line["highest LR"], line["best LR"]) == ("0.0010", "0.0040", "0.0020")
    assert (line["trials"], line["decades"], line["on edge"]) == (3, "0.60", "no")


def test_per_layer_values_come_from_every_seed_and_checkpoint_of_the_reference():
    values = values_by_parameter(study_records(seeds=3), "kurtosis")
    assert list(values) == list(LAYERS)
    assert values[LAYERS[1]] == [4.0, 4.01] * 3
    assert values_by_parameter(study_records(), "gaussian/batch")[LAYERS[0]][0] == SHARE["batch"]
    assert values_by_parameter(study_records(), "gaussian/group") == {}


def verdicts(records, preset="small"):
    """With losses that scatter by ±0.002, differently in every arm: without scatter there is no t-test."""
    rows = claim_rows(records)
    for k, r in enumerate(rows):
        r["value"] += 0.001 * (k * 7 % 5 - 2)
    return {v["id"]: v for v in decide(LEDGER, STUDY.name, lambda _: rows, records, preset=preset)}


def test_losses_that_fall_from_early_to_late_sign_reproduce_the_claims():
    """The predicted order needs five arms: four in the right order have p = 2/4! = 0.083."""
    found = verdicts(study_records(seeds=8))
    assert {claim: v["verdict"] for claim, v in found.items()} == {
        "C3": "reproduced",
        "C3b": "reproduced",
        "C3c": "inconclusive",
    }
    assert found["C3c"]["estimate"] == 1.0
    assert found["C3"]["label"] == "at 115,008 parameters, 12,800 tokens in 25 steps"


def test_losses_in_the_opposite_order_do_not_reproduce_the_claims(monkeypatch):
    turned = dict(zip(LOSS, reversed(LOSS.values()), strict=True))
    for arm, loss in turned.items():
        monkeypatch.setitem(LOSS, arm, loss - 0.1)  # the base stays below its bar
    assert {v["verdict"] for v in verdicts(study_records(seeds=8)).values()} == {"not reproduced"}


@pytest.mark.parametrize(("preset", "seeds"), [("smoke", 5), ("small", 4)])
def test_too_small_a_preset_or_too_few_seeds_decide_nothing(preset, seeds):
    assert {v["verdict"] for v in verdicts(study_records(seeds=seeds), preset).values()} == {"not tested"}


def test_the_claims_are_decided_from_the_arms_of_the_study():
    """A renamed arm would leave a claim untested for ever."""
    found = verdicts(study_records(seeds=8, without=("example",)))
    assert found["C3"]["verdict"] == "not tested"
    assert "example" in found["C3"]["why"]


def test_the_scale_label_counts_parameters_and_tokens():
    assert scale_label(study_records()) == "at 115,008 parameters, 12,800 tokens in 25 steps"


def test_the_constructed_records_have_the_curves_that_the_runner_writes():
    """Names as ``GradientNoise`` gives them, so that these tests test the true thing."""
    placements = GradientNoise(16, 4, 0.9, (4,)).placements
    assert set(placements) == set(SHARE)
    made = {name.split("/", 2)[2] for name in noise_curves() if "/all/" not in name}
    spoken = {f"{kind}/{arm}" for kind in ("gaussian", "resampled") for arm in placements}
    assert made == spoken | {"snr", "kurtosis", "agreement"}
