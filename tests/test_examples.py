"""The examples run as they are written, at tiny settings, and show what they say they show."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


def example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried_here():
    tried = {"alsdgc_autocast", "gpt_micro_adam", "odd_examples", "sgg_schedule"}
    assert {path.stem for path in FOLDER.glob("*.py")} == tried


def test_the_small_gpt_learns():
    curve = example("gpt_micro_adam").main(40)
    assert curve[0] > 4.5
    assert sum(curve[-5:]) / 5 < 3.6


def test_sgg_goes_on_from_its_checkpoint_under_its_schedule():
    assert example("sgg_schedule").main(150) > 0.9


def test_alsdgc_backs_off_from_overflows_and_learns():
    readings = example("alsdgc_autocast").main(200)
    assert readings["skipped"] >= 1
    assert readings["scale"] < 2**16
    assert readings["loss"] < 50


def test_the_largest_norms_are_the_wrong_labels():
    odd, wrong = example("odd_examples").main(200)
    assert len(set(odd) & set(wrong)) >= 7
