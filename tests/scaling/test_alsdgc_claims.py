"""Sentences of ALSDGC that its own printed rules refute; the ledger names these tests as proofs."""

import itertools
import math

import pytest
import torch

from regrad.scaling import simulate
from regrad.scaling.alsdgc import ALSDGC
from regrad.transforms.clipping import dynamic_gradient_clipping, update_clipping_threshold
from regrad.transforms.loss_scale import update_loss_scale


def test_the_loss_enters_neither_rule_and_the_norm_not_the_scale():
    """256 sequences of extreme losses and norms; scales 1, 2, 4, 8, 16 each time."""
    for values in itertools.product([0.0, 1e-8, 1e8, math.nan], repeat=4):
        for losses, norms in ((values, [1.0] * 4), ([1.0] * 4, values)):
            scales = [1.0]
            for loss, norm in zip(losses, norms, strict=True):
                scales.append(update_loss_scale(scales[-1], norm, loss))
            assert scales == [1.0, 2.0, 4.0, 8.0, 16.0]
    with pytest.raises(TypeError, match="loss"):
        update_clipping_threshold(1.0, 1.0, 0.1, loss=5.0)


def test_the_scale_is_a_clock_of_sixteen_doublings():
    assert simulate.scale_clock(40) == [2.0 ** min(t, 16) for t in range(41)]


def test_the_update_of_sgd_is_up_to_65536_times_that_of_its_learning_rate():
    """Gradient 1.5 at every step, lr 0.1: plain SGD moves by 0.15; the printed algorithm by 0.15 s in the end."""
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer, scaler = torch.optim.SGD([weight], lr=0.1), ALSDGC(variant="V0")
    moved = []
    for _ in range(200):
        before = weight.item()
        scaler.scale(1.5 * weight).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        moved.append(before - weight.item())
    assert moved[-1] == pytest.approx(0.15 * 65536)
    assert moved[0] == pytest.approx(0.1)  # clipped to norm 1


def test_the_threshold_rests_at_the_median_norm_over_the_learning_rate():
    """Norms 1, 2, 9 in turn, median 2: at lr 0.01 the threshold goes to 200, and nothing is clipped any more."""
    path = simulate.literal_path([1.0, 2.0, 9.0] * 1000, 0.01, unscale=True)
    assert all(200 / 1.22 < threshold < 200 * 1.22 for threshold in path.threshold[300:])
    assert path.clip_rate(300) == 0.0


def test_an_explosion_of_nine_percent_a_step_is_never_clipped():
    path = simulate.literal_path([0.5 * 1.09**t for t in range(1000)], 0.1, unscale=True)
    assert path.clip_rate() == 0.0
    assert path.applied[-1] > 1e36


def test_one_infinite_entry_destroys_the_weights():
    """In the scaled gradient (inf, 1) clipping to norm 1 leaves (nan, 0); SGD then makes the weight nan."""
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([math.inf, 1.0])
    dynamic_gradient_clipping([weight], 1.0)
    torch.optim.SGD([weight], lr=0.1).step()
    assert weight[0].isnan()
    assert weight[1] == 1.0
