"""Runs through a loss scaler: the neutral ones change no bit, the printed one multiplies the learning rate."""

import pytest
import torch

from regrad.problems.language import LanguageProblem
from regrad.results import Part, Schedule
from regrad.runner import train
from regrad.runner.dependencies import libraries
from regrad.runner.registry import SCALERS
from regrad.runner.train import run
from regrad.studies.alsdgc.runtime import scalers as scaled
from tiny_runs import FINGERPRINT, sgd, spec


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def curves(cache, **changes):
    return run(spec(steps=6, evaluations=6, **changes), FINGERPRINT, cache=cache).curves


def alsdgc(**options):
    return Part(name="alsdgc", options=options)


@pytest.mark.parametrize(
    "scaler",
    [
        alsdgc(variant="V1", init_threshold=1e6),
        alsdgc(variant="V2", init_threshold=1e6),
        alsdgc(variant="V4"),
        Part(name="clipped"),
        Part(name="clipped", options={"loss_scale": "dynamic"}),
    ],
    ids=str,
)
def test_in_float32_a_scaler_that_does_not_clip_changes_no_bit(cache, scaler):
    assert curves(cache, scaler=scaler) == curves(cache)


def test_without_unscaling_the_first_step_of_sgd_is_scale_times_longer(cache):
    """s0 = 8 and a threshold out of reach: step 1 of V0 at lr 1/64 is step 1 of SGD at lr 1/8."""
    constant = Schedule(shape="constant", warmup=0.0)
    literal = alsdgc(variant="V0", init_scale=8.0, init_threshold=1e6)
    found = curves(cache, scaler=literal, optimizer=sgd(1 / 64), schedule=constant)["validation_loss"]
    plain = curves(cache, optimizer=sgd(1 / 8), schedule=constant)["validation_loss"]
    assert found.y[:2] == plain.y[:2]
    assert found.y[2] != plain.y[2]


def test_a_clipper_clips_what_the_optimizer_gets(cache):
    """Clipped to norm 1e-6 at lr 0.1, six steps move the weights by 6e-7 at most: the loss stays."""
    tight = Part(name="clipped", options={"clipper": "fixed", "max_norm": 1e-6})
    found = curves(cache, scaler=tight)["validation_loss"].y
    assert found[-1] == pytest.approx(found[0], abs=1e-5)
    assert found[-1] < curves(cache)["validation_loss"].y[0] + 1e-5


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_autocast_acts_on_the_model_and_the_numbers_stay_near(cache, precision):
    dynamic = Part(name="clipped", options={"loss_scale": 256.0})
    found = curves(cache, precision=precision, scaler=dynamic)["validation_loss"].y
    exact = curves(cache)["validation_loss"].y
    assert found[0] == exact[0], "evaluations are in float32"
    assert found[1:] != exact[1:]
    assert found == pytest.approx(exact, abs=0.02)


def test_measures_see_the_scaler(cache, monkeypatch):
    seen = []

    class Look:
        def wants(self, step, of):
            return step == of.steps

        def __call__(self, at):
            seen.append(at.scaler)
            return {"scale": at.scaler.get_scale()}

    monkeypatch.setattr(train, "build_measures", lambda of: [Look()])
    assert curves(cache, scaler=alsdgc(variant="V0"))["scale"].y == [64.0]
    assert seen[0].variant == "V0"


@pytest.mark.parametrize("how", [{"scaler": alsdgc()}, {"precision": "fp16"}], ids=str)
def test_a_gradient_that_would_stay_scaled_is_refused(cache, how):
    statistics = Part(name="statistics", options={"names": ["variance"], "method": "vmap"})
    with pytest.raises(ValueError, match=r"gradient .statistics. with scaler or precision"):
        curves(cache, gradient=statistics, **how)


def test_an_unknown_clipper_is_refused_by_name():
    with pytest.raises(ValueError, match=r"clipper must be one of .*, got 'autoclp'"):
        scaled.clipped(torch.device("cpu"), clipper="autoclp")


def test_a_run_with_a_library_s_clipper_is_named_after_the_library_s_version():
    assert set(libraries(spec(scaler=Part(name="clipped")))) == {"pytorch-optimizer", "zclip"}
    assert libraries(spec()) == {}
    assert set(SCALERS) == {"alsdgc", "clipped"}


def test_the_plain_path_calls_the_problem_s_own_losses():
    problem = LanguageProblem.__new__(LanguageProblem)
    assert train.losses_to_differentiate(spec(), problem, None) == problem.losses
