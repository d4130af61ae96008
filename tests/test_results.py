"""Specs and records are plain, frozen, checked values; a spec's name depends on what decides its numbers."""

import json
import math

import pytest
from pydantic import ValidationError

from regrad.results import (
    Curve,
    Fingerprint,
    Part,
    Record,
    Schedule,
    Spec,
    canonical,
    parse,
    row,
    rows,
    run_id,
    run_set,
    sha256,
    suggestion,
)
from tiny_runs import FINGERPRINT, record, sgd, spec

BASE = {"problem": {"name": "language"}, "optimizer": {"name": "sgd"}, "steps": 2, "batch_size": 2, "seed": 0}


def test_tags_do_not_name_a_run():
    plain, labelled = spec(), spec(tags={"study": "any", "arm": "a", "phase": "tune"})
    assert plain.key() == labelled.key()
    assert run_id(plain, FINGERPRINT) == run_id(labelled, FINGERPRINT)


def test_the_order_of_options_does_not_name_a_run():
    one = spec(optimizer=Part(name="sgd", options={"lr": 0.1, "momentum": 0.9}))
    other = spec(optimizer=Part(name="sgd", options={"momentum": 0.9, "lr": 0.1}))
    assert one.key() == other.key()


def test_defaults_written_out_are_the_same_run():
    assert spec(schedule=Schedule(shape="cosine", warmup=0.05, final=0.1), precision="fp32").key() == spec().key()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"steps": 3},
        {"batch_size": 3},
        {"evaluations": 2},
        {"optimizer": sgd(0.2)},
        {"gradient": Part(name="backward")},
        {"measures": (Part(name="test"),)},
        {"schedule": Schedule(shape="constant")},
        {"precision": "bf16"},
        {"problem": Part(name="language", options={"corpus": "news"})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_but_the_tags_names_a_run(change):
    assert run_id(spec(**change), FINGERPRINT) != run_id(spec(), FINGERPRINT)


@pytest.mark.parametrize("field", sorted(Fingerprint.model_fields))
def test_every_field_of_the_fingerprint_names_a_run(field):
    changed = FINGERPRINT.model_copy(update={field: "other"})
    assert run_id(spec(), changed) != run_id(spec(), FINGERPRINT)


def test_a_run_id_is_the_hash_of_its_canonical_texts():
    fingerprint = '{"code":"c0de","data":"da7a","device":"cpu","torch":"2.13.0"}'
    assert run_id(spec(), FINGERPRINT) == sha256(spec().key() + fingerprint)
    assert len(run_id(spec(), FINGERPRINT)) == 64


def test_a_run_set_ignores_order_and_repetition():
    assert run_set(["b", "a", "b"]) == run_set(["a", "b"]) != run_set(["a"])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_what_json_has_no_word_for(number):
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": number})


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_records_refuse_non_finite_numbers(number):
    with pytest.raises(ValidationError):
        Curve(x=[0.0], y=[number])
    with pytest.raises(ValidationError):
        record(metrics={"validation_loss": number})
    with pytest.raises(ValidationError):
        spec(optimizer=Part(name="sgd", options={"lr": number}))


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError):
        spec().seed = 2


def test_a_spec_survives_json():
    full = spec(measures=(Part(name="test"),), gradient=Part(name="backward"), tags={"arm": "a"})
    assert Spec(**json.loads(json.dumps(full.model_dump(mode="json")))) == full
    assert Record(**json.loads(json.dumps(record(full).model_dump(mode="json")))) == record(full)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": 1}, ["seeds", "did you mean 'seed'?"]),
        ({"batchsize": 1}, ["did you mean 'batch_size'?"]),
        ({"steps": 0}, ["steps = 0", "greater than or equal to 1"]),
        ({"steps": -5}, ["steps = -5"]),
        ({"steps": 1.5}, ["steps = 1.5"]),
        ({"steps": "many"}, ["steps = 'many'"]),
        ({"batch_size": 0}, ["batch_size = 0"]),
        ({"seed": -1}, ["seed = -1"]),
        ({"evaluations": 0}, ["evaluations = 0"]),
        ({"precision": "fp8"}, ["precision = 'fp8'", "fp16"]),
        ({"schedule": {"shape": "linear"}}, ["schedule.shape = 'linear'", "cosine"]),
        ({"schedule": {"warmup": 1.0}}, ["schedule.warmup = 1.0", "less than 1"]),
        ({"schedule": {"final": 2}}, ["schedule.final = 2"]),
        ({"schedule": {"warmup": math.nan}}, ["schedule.warmup = nan"]),
        ({"problem": {"name": "language", "option": {}}}, ["problem.option"]),
        ({"optimizer": "sgd"}, ["optimizer = 'sgd'"]),
    ],
    ids=str,
)
def test_a_bad_spec_is_refused_in_one_line_with_field_value_and_range(change, said):
    with pytest.raises(ValueError, match=r"^Spec: ") as caught:
        parse(Spec, BASE | change)
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_a_word_far_from_all_gets_the_whole_list():
    assert suggestion("smal", ["smoke", "small"]) == "; did you mean 'small'?"
    assert suggestion("zzz", ["smoke", "full"]) == "; allowed: full, smoke"


def test_a_row_is_what_statistics_need():
    made = record(spec(tags={"arm": "a", "phase": "tune"}))
    expected = {"arm": "a", "phase": "tune", "lr": 0.1, "seed": 0, "value": 2.5, "diverged": False}
    assert row(made, "validation_loss") == expected
    assert rows([made], "validation_loss", "fresh") == []


def test_a_diverged_row_has_no_value():
    tagged = spec(tags={"arm": "a", "phase": "tune"})
    made = record(tagged, status="diverged", metrics={})
    assert row(made, "validation_loss")["value"] is None
    assert row(made, "validation_loss")["diverged"] is True


def test_a_wrappers_learning_rate_is_that_of_what_it_wraps():
    plain = Part(name="adam", options={"lr": 0.1, "betas": [0.9, 0.99]})
    inner = Part(name="sgg", options={"base": plain.model_dump()})
    wrapped = Part(name="resetting", options={"base": inner.model_dump()})
    assert (plain.lr, wrapped.lr) == (0.1, 0.1)
    assert wrapped.with_lr(0.2).lr == 0.2
    assert wrapped.lr == 0.1
    assert wrapped.with_lr(1 / 3).base.base.options == {"lr": 0.333333, "betas": [0.9, 0.99]}
    assert plain.base is None


@pytest.mark.parametrize("options", [{}, {"lr": "fast"}, {"lr": True}, {"base": {"name": "sgd", "options": {}}}])
def test_a_part_without_a_learning_rate_says_so(options):
    with pytest.raises(ValueError, match=r"lr = .*; allowed: a number"):
        _ = Part(name="sgd", options=options).lr
