"""The engine on architectures that others wrote, made small: exact, or refused with a remedy, never wrong."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="the optional extra hf is not installed")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import coverage_models as models
    from coverage import examine, examine_autocast
finally:
    sys.path.remove(str(BENCHMARKS))

# What is refused, and why.
MOVED = "does not keep the"  # examples on another axis, or none: experts stacked, blocks of diagonals, windows in front
HIDDEN = "neither an example's nor made of parameters"  # tokens sorted by the expert that they go to
REFUSED = {
    "hf/aria_text": "experts meet their tokens by linear layers only",
    "hf/gpt_oss": HIDDEN, "hf/jetmoe": HIDDEN,
    "hf/deepseek_v4": MOVED, "hf/inkling_text": MOVED, "hf/llama4_text": MOVED, "hf/recurrent_gemma": MOVED,
    "hf/xlnet": MOVED, "hf/longformer": MOVED, "hf/led": MOVED, "hf/fsmt": MOVED,
    "hf/t5gemma2": "returns a NoneType",
    "hf/phimoe": "draws random numbers",
    "hf/ibert": "changes this buffer",
    "hf/nystromformer": "gradient through others",  # attention scaled by the largest entry of the batch
}  # fmt: skip
FIVE = ["hf/gpt2", "hf/bert", "hf/t5", "hf/swin", "hf/mixtral"]
# The others are the command's, `python benchmarks/coverage.py`.
SAMPLE = [name for name in models.NAMES if "hf/" in name][::4]

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)


def check(name, verdict):
    if name in REFUSED:
        assert verdict.startswith("refused")
        assert REFUSED[name] in verdict
        assert "WRONG" not in verdict
    else:
        assert verdict.startswith("exact"), verdict


@pytest.mark.parametrize("name", FIVE)
def test_five_architectures_are_exact_or_refused_with_the_reason(name):
    check(name, examine(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SAMPLE if name not in FIVE])
def test_every_fourth_architecture_is_exact_or_refused_with_the_reason(name):
    check(name, examine(name))


@needs_timm
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.NAMES if "timm/" in name])
def test_every_architecture_of_timm_is_exact(name):
    check(name, examine(name))


@pytest.mark.parametrize("name", ["hf/gpt2", "hf/bert"])
def test_two_architectures_are_as_accurate_as_the_loop_under_autocast(name):
    check(name, examine_autocast(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_every_fourth_architecture_is_as_accurate_as_the_loop_under_autocast(name):
    check(name, examine_autocast(name))
