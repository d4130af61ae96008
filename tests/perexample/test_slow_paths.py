"""A step that a slow path makes dear says so, once; what is fast, or over in a moment, says nothing."""

import logging

import pytest
import torch
from perexample_models import square_losses
from torch import nn
from torch.nn.utils import parametrizations

from regrad.perexample import slow_paths
from regrad.perexample.engine import gradient_statistics


class Inner(nn.Linear):
    def forward(self, x):
        return torch.inner(x, self.weight)


def said(caplog, model, calls=1):
    slow_paths.said.clear()
    torch.manual_seed(0)
    for _ in range(calls):
        gradient_statistics(model, square_losses, torch.randn(64, 64), ["mean", "mean_square"])
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_function_without_a_rule_is_named_once_with_its_parameter_and_the_remedy(caplog):
    (message,) = said(caplog, nn.Sequential(nn.Linear(64, 256), Inner(256, 512, bias=False)), calls=3)
    assert "torch.inner of 1.weight: it has no rule" in message
    assert "register_rule" in message
    assert float(message.split(" x as long")[0].split()[-1]) > 1.5


def test_a_weight_computed_from_a_parameter_is_named_once(caplog):
    model = nn.Sequential(nn.Linear(64, 64), parametrizations.orthogonal(nn.Linear(64, 32)))
    (message,) = said(caplog, model, calls=2)
    assert "1.parametrizations.weight.original: the forward pass uses parts of it, or computes" in message


@pytest.mark.parametrize("model", [nn.Linear(64, 64), nn.Sequential(nn.Linear(64, 512), nn.LayerNorm(512), nn.PReLU())])
def test_what_has_a_rule_is_not_named(caplog, model):
    assert not said(caplog, model)


def test_a_path_that_is_a_small_part_of_the_step_is_not_named(caplog):
    watch = slow_paths.Stopwatch(total=1.0, extra={("a", "why"): 0.3})
    watch.tell()
    assert not caplog.records
    slow_paths.Stopwatch(total=1.0, extra={("a", "why"): 0.2, ("b", "why"): 0.2, ("c", "why"): 0.01}).tell()
    assert [record.getMessage().split(": ")[0].split()[-1] for record in caplog.records] == ["a", "b"]
