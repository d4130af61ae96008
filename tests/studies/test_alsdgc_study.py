"""The plan of the study of ALSDGC, and what its runs record. By hand."""

from collections import Counter
from types import SimpleNamespace

import pytest

from alsdgc_records import SIZES, study_records
from regrad.runner.dependencies import entries
from regrad.studies.alsdgc import beside
from regrad.studies.alsdgc import plan as study
from regrad.studies.alsdgc.arms import ALL_ARMS, ARMS, MOST_ARMS, NORMS
from regrad.studies.alsdgc.runtime.measures import ScalerReadings, SplitLosses
from regrad.studies.alsdgc.sizes import PRESETS
from regrad.studies.grids import TUNING_SEED
from regrad.studies.looks import HEADLINES

RECORDS = study_records()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_arm_of_a_task_is_tuned_with_as_many_trials(preset):
    counts = {}
    for spec in study.specs(preset, []):
        counts.setdefault(spec.tags["part"], Counter())[spec.tags["arm"]] += 1
    sizes = PRESETS[preset]
    assert set(counts) <= set(sizes.tasks)
    for part, arms in counts.items():
        planned = set(sizes.tasks[part].arms)
        assert set(arms) <= planned if preset in HEADLINES else set(arms) == planned
        assert set(arms.values()) == {sizes.points * sizes.seeds[0]}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_best_fixed_norm_is_the_best_of_five_arms_on_every_task(preset):
    assert NORMS == ("clip-0.1", "clip-0.3", "clip-1", "clip-3", "clip-10")
    for task in PRESETS[preset].tasks.values():
        assert set(NORMS) <= set(task.arms)
    assert study.best_norm(RECORDS, "plain") == "clip-3"  # the constructed losses are lowest there
    assert study.best_norm([], "plain") is None


def test_tuning_seeds_are_never_result_seeds():
    phases = {}
    for r in RECORDS:
        phases.setdefault(r.spec.tags["phase"] == "tune", set()).add(r.spec.seed)
    assert phases[True] == {TUNING_SEED}
    assert phases[False] == {0, 1, 2, 3, 4}


def test_nothing_but_fresh_seeds_of_a_task_sees_the_test_split():
    for r in RECORDS:
        if r.spec.tags["phase"] == "tune":
            assert r.spec.measures == ()


def test_the_rungs_record_what_their_scaler_does():
    fresh = [r.spec for r in RECORDS if kind(r) == ("plain", "fresh")]
    read = {spec.tags["arm"] for spec in fresh if "scaler_readings" in [m.name for m in spec.measures]}
    assert read == {"V0", "V1", "V2", "V3", "V4"}


def test_a_whole_optimizer_stands_in_for_the_task_s():
    names = {r.spec.tags["arm"]: r.spec.optimizer.name for r in RECORDS if r.spec.tags["part"] == "plain"}
    assert names.pop("adagc") == "adagc"
    assert names.pop("lamb") == "lamb"
    assert set(names.values()) == {"sgd"}


def test_parts_beside_the_tasks_change_what_they_are_about_and_keep_the_seed():
    fresh = {(r.spec.tags["arm"], r.spec.seed): r.spec for r in RECORDS if kind(r) == ("plain", "fresh")}
    followed = {"none", "clip-1", "clip-3", "V0", "V4", "placebo"}
    for part in ("width", "fractions", "spikes"):
        found = [r.spec for r in RECORDS if r.spec.tags["part"] == part]
        assert {s.tags["arm"] for s in found} == followed
        assert Counter(s.tags["arm"] for s in found)["V4"] == 5 * {"width": 4, "fractions": 2, "spikes": 1}[part]
        for spec in found:
            base = fresh[spec.tags["arm"], spec.seed]
            assert spec.scaler == base.scaler
            assert (spec.optimizer == base.optimizer) == (part != "width")
            assert (spec.problem == base.problem) == (part == "width")


def kind(record):
    return record.spec.tags["part"], record.spec.tags["phase"]


def test_the_adam_control_doubles_the_rate_and_nothing_else():
    arms = {r.spec.tags["arm"]: r.spec for r in RECORDS if r.spec.tags["part"] == "adam" and r.spec.seed == 0}
    assert set(arms) == {"none", "lr-x2", "V0", "V1", "placebo"}
    rates = {arm: spec.optimizer.lr for arm, spec in arms.items()}
    assert rates.pop("lr-x2") == 2 * rates["none"]
    assert set(rates.values()) == {SIZES.adam_rate}
    assert {spec.optimizer.name for spec in arms.values()} == {"adam"}
    assert arms["lr-x2"].scaler is None


def test_float16_differs_in_precision_and_scaler_alone():
    base = next(r.spec for r in RECORDS if kind(r) == ("plain", "fresh") and r.spec.tags["arm"] == "none")
    found = [r.spec for r in RECORDS if r.spec.tags["part"] == "fp16" and r.spec.seed == base.seed]
    assert [s.tags["arm"] for s in found] == list(beside.FP16_ARMS)
    for spec in found:
        assert spec.precision == "fp16"
        assert spec.optimizer == base.optimizer
        assert spec.problem == base.problem


def test_float16_on_two_more_tasks_pairs_four_arms_on_the_seeds_of_the_task():
    for task in ("resnet", "rnn"):
        base = {r.spec.seed: r.spec for r in RECORDS if kind(r) == (task, "fresh") and r.spec.tags["arm"] == "none"}
        found = [r.spec for r in RECORDS if r.spec.tags["part"] == f"fp16-{task}"]
        assert Counter((s.tags["arm"], s.seed) for s in found) == Counter(
            (arm, seed) for arm in ("scale-1", "grad_scaler", "V2", "V3") for seed in range(5)
        )
        for spec in found:
            assert spec.precision == "fp16"
            assert spec.optimizer == base[spec.seed].optimizer
            assert spec.steps == max(1, 2 * base[spec.seed].steps // 3)


def test_every_arm_names_a_scaler_that_exists_and_the_placebo_never_moves():
    for arm in ARMS:
        assert entries(study.make(SIZES, "plain", arm, 0.1, 0, "fresh"))
    options = {name: part.options for name, arm in ARMS.items() if (part := arm.scaler_part(7))}
    assert set(ARMS) - set(options) == {"none", "lr-x2", "adagc", "lamb"}
    assert options["placebo"]["frozen"] is True
    assert options["clip-0.3"] == {"clipper": "fixed", "max_norm": 0.3}
    assert options["autoclip-90"] == {"clipper": "autoclip", "percent": 90.0}
    assert options["V4"] == {"variant": "V4", "warmup_steps": 7}
    assert {name for name, o in options.items() if "warmup_steps" in o} == {"V0", "V1", "V2", "V3", "V4", "emaclip"}


def test_arms_are_shown_apart():
    assert len({arm.label for arm in ARMS.values()}) == len(ARMS)
    for shown in (MOST_ARMS, beside.FP16_ARMS, beside.ADAM_ARMS, beside.HALF_ARMS):
        assert len({(ARMS[arm].color, ARMS[arm].marker) for arm in shown}) == len(shown)
    assert len(ALL_ARMS) == 22


def test_split_losses_are_taken_where_the_validation_loss_is():
    spec = study.make(SIZES, "plain", "V4", 0.1, 0, "fresh").model_copy(update={"steps": 10, "evaluations": 4})
    measure = SplitLosses()
    assert [k for k in range(11) if measure.wants(k, spec)] == [0, 2, 5, 8, 10]  # round(2.5) and round(7.5) are even
    problem = SimpleNamespace(evaluate=lambda model, split: {"loss": {"train": 1.0, "test": 2.0}[split]})
    assert measure(SimpleNamespace(problem=problem, model=None)) == {"train_loss": 1.0, "test_loss": 2.0}


def test_scaler_readings_are_shares_of_steps_and_leave_out_a_threshold_that_never_clips():
    spec = study.make(SIZES, "plain", "V4", 0.1, 0, "fresh").model_copy(update={"steps": 7})
    measure = ScalerReadings(every=3)
    assert [k for k in range(8) if measure.wants(k, spec)] == [3, 6, 7]
    readings = {"scale": 8.0, "threshold": float("inf"), "norm": 0.5, "clipped": 1.0, "skipped": 2.0, "steps": 4.0}
    scaler = SimpleNamespace(readings=lambda optimizer: dict(readings))
    found = measure(SimpleNamespace(scaler=scaler, optimizer=None))
    assert found == {"scaler/scale": 8.0, "scaler/norm": 0.5, "scaler/clipped": 0.25, "scaler/skipped": 0.5}
    assert measure(SimpleNamespace(scaler=None)) == {}
    assert measure(SimpleNamespace(scaler=SimpleNamespace(get_scale=lambda: 4.0))) == {"scaler/scale": 4.0}
