"""The rows that the claims on ALSDGC are decided from, worked out by hand from the constructed losses."""


import pytest

import alsdgc_records
from regrad.report.outcomes import Outcomes
from regrad.studies.alsdgc.claims import claim_rows
from regrad.studies.alsdgc.numbers import numbers

OUTCOMES = Outcomes(alsdgc_records.study_records())


def rows_of(records, arm, metric):
    """Value and whether it failed, by seed, of one arm and metric."""
    rows = [row for row in claim_rows(records) if (row["arm"], row["metric"]) == (arm, metric)]
    assert len({row["seed"] for row in rows}) == len(rows)
    return {row["seed"]: (row["value"], row["diverged"]) for row in rows}


def values_of(arm, metric):
    return [value for value, failed in rows_of(OUTCOMES, arm, metric).values() if not failed]


def replaced(part, arm, **changes):
    """The records, with the run of seed 0 of an arm and part changed, and that run."""
    old = OUTCOMES.part(part).arm(arm).results.by_seed[0]
    new = old.model_copy(update=changes)
    return Outcomes(new if record is old else record for record in OUTCOMES), new


def test_the_best_norm_has_rows_of_its_own_beside_its_arm_s():
    assert rows_of(OUTCOMES, "best-clip", "test_loss/plain") == rows_of(OUTCOMES, "clip-3", "test_loss/plain")
    assert values_of("best-clip", "test_loss/plain") == [pytest.approx(1.6, abs=0.004)] * 5


def test_what_is_not_finite_is_no_value():
    """Norm 10 ends at 1.8, above the target of 1.7 + 0.05: it never gets there, and that is no divergence."""
    assert all(row["value"] is None or abs(row["value"]) < 1e9 for row in claim_rows(OUTCOMES))
    assert set(rows_of(OUTCOMES, "clip-10", "steps_to_target/plain").values()) == {(None, False)}


def test_an_arm_without_a_learning_rate_has_failed_at_every_seed_of_the_task():
    """V0 on the RNN has no fresh run; left out, the worst would not count."""
    for metric in ("test_loss/rnn", "steps_to_target/rnn"):
        assert rows_of(OUTCOMES, "V0", metric) == dict.fromkeys(range(5), (None, True))


def test_a_run_that_ended_above_its_untrained_model_has_failed():
    curve = OUTCOMES.part("plain").arm("V4").results.by_seed[0].curves["validation_loss"]
    worse = {"validation_loss": curve.model_copy(update={"y": [*curve.y[:-1], 9.0]})}
    records, _ = replaced("plain", "V4", curves=worse)
    assert [failed for _, failed in rows_of(records, "V4", "test_loss/plain").values()] == [True] + [False] * 4
    records, _ = replaced("fractions", "V4", curves=worse)
    assert rows_of(records, "V4", "data_penalty/plain")[0] == (None, True)


def test_the_architecture_s_excess_is_over_the_best_arm_of_each_task_and_infinite_where_one_has_no_end():
    """V4 is best everywhere; norm 3 ends 0.1 above it, norm 1 and every other 0.2 and more. V0 is lost on the RNN."""
    assert values_of("V4", "architecture_excess") == [pytest.approx(0.0, abs=0.004)] * 5
    assert values_of("best-clip", "architecture_excess") == [pytest.approx(0.1, abs=0.004)] * 5
    assert values_of("clip-1", "architecture_excess") == [pytest.approx(0.2, abs=0.004)] * 5
    assert rows_of(OUTCOMES, "V0", "architecture_excess") == dict.fromkeys(range(5), (None, True))


def test_the_penalty_of_less_data_is_the_mean_over_shares_less_the_loss_on_all_of_it():
    """Losses rise by 1/10 and 1/30: by 0.0667 on average."""
    assert values_of("V4", "data_penalty/plain") == [pytest.approx(0.2 / 3, abs=1e-6)] * 5


def test_a_bad_batch_from_which_a_run_never_recovers_is_no_time():
    """A mean of steps that were left would say how long the run was; the prose counts who came back."""
    curve = OUTCOMES.part("spikes").arm("clip-1").results.by_seed[0].curves["validation_loss"]
    worse = {"validation_loss": curve.model_copy(update={"y": [*curve.y[:-1], 9.0]})}
    records, ruined = replaced("spikes", "clip-1", curves=worse)
    assert ruined.diverged
    assert rows_of(records, "clip-1", "recovery_steps/plain")[0] == (None, False)
    all_ruined = [r.model_copy(update={"curves": worse}) if r.spec.tags["part"] == "spikes" else r for r in OUTCOMES]
    assert numbers(all_ruined)["alsdgc/recovery/clip-1"] == "for ever (0 of 5)"
    assert numbers(OUTCOMES)["alsdgc/recovery/V4"] == "2.00 steps (5 of 5)"
    records, _ = replaced("spikes", "clip-1", status="diverged")
    assert rows_of(records, "clip-1", "recovery_steps/plain")[0] == (None, True)
