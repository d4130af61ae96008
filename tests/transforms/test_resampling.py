"""Predictions from measured gradients: the Gaussian argument where it holds, and the two ways it fails."""

import functools
import math

import pytest
import torch

from regrad.transforms.placements import PLACEMENTS
from regrad.transforms.resampling import batch_gradient, resampled_update
from regrad.transforms.signal_to_noise import predicted_right_sign, predicted_snr

HOW = {"batch_size": 32, "momentum": 0.9}


def outcome(samples, placement, **options):
    how = {**HOW, "generator": torch.Generator().manual_seed(7), **options}
    return resampled_update(samples, placement, **how)


@functools.cache
def drawn(quantile, mean, n=4000, coords=100):
    """Samples with a distribution's exact quantiles, shuffled per coordinate, and exactly this mean."""
    values = quantile((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    order = torch.rand(n, coords, generator=torch.Generator().manual_seed(0)).argsort(0)
    return (values - values.mean() + mean)[order]


gaussian = torch.special.ndtri


def heavy_tailed(u):
    """Student's t with 2 degrees of freedom: an infinite variance."""
    return (2 * u - 1) / (2 * u * (1 - u)).sqrt()


def skewed(u):
    """Exponential: mean 1, median ln 2 = 0.693."""
    return -torch.log1p(-u)


def test_what_each_placement_finds_in_the_gradient_by_hand():
    examples = torch.tensor([[1.0, -2], [3, 8], [-9, 1], [1, 0]])
    assert batch_gradient(examples, "example").tolist() == [0.5, 0.25]  # (1+1-1+1)/4, (-1+1+1+0)/4
    assert batch_gradient(examples, "example", 2).tolist() == [0.0, 1.0]  # groups: 2, 3 | -4, 0.5
    assert batch_gradient(examples, "example", 4).tolist() == [-1.0, 1.0]  # means -1, 1.75
    assert batch_gradient(examples, "ema").tolist() == [-1.0, 1.75]
    assert batch_gradient(examples, "batch").tolist() == [-1.0, 1.75]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("s", [0.02, 0.1])
def test_gaussian_gradients_behave_as_predicted(placement, s):
    found = outcome(drawn(gaussian, s), placement)
    s = torch.tensor(s, dtype=torch.float64)
    assert float(found.right_sign.mean()) == pytest.approx(
        float(predicted_right_sign(s, placement, **HOW)), abs=0.02
    )
    if placement != "ema" or s < 0.1:  # at SNR 6 a sign is wrong once in 150: too rare for 2,000 steps
        expected = float(predicted_snr(s, placement, **HOW))
        assert float(found.snr.mean()) == pytest.approx(expected, rel=0.1)


def test_groups_lie_between_and_a_whole_group_is_the_batch():
    samples = drawn(gaussian, 0.3, coords=50)
    one, four, whole = (float(outcome(samples, "example", group_size=k).snr.mean()) for k in (1, 4, 32))
    assert one < four < whole
    assert torch.equal(outcome(samples, "example", group_size=32).snr, outcome(samples, "batch").snr)


def test_heavy_tails_reverse_the_order():
    # t with 2 degrees of freedom, mean 0.02: the sign of each example ignores the tails
    example, batch, ema = (
        float(outcome(drawn(heavy_tailed, 0.02), p).right_sign.mean()) for p in PLACEMENTS
    )
    assert example > batch + 0.02
    assert example > ema + 0.02


def test_skewed_gradients_send_the_early_sign_the_wrong_way():
    samples = drawn(skewed, 0.05)
    example, batch, ema = (outcome(samples, p) for p in PLACEMENTS)
    assert float(example.right_sign.mean()) < 0.02
    assert float(example.snr.max()) < -1
    assert float(ema.right_sign.mean()) > 0.8
    assert float(ema.snr.mean()) > float(batch.snr.mean()) > 0


def test_update_sizes_are_those_of_pure_noise():
    noise = drawn(gaussian, 0.0)
    sizes = [outcome(noise, p).rms for p in PLACEMENTS]
    # 1/sqrt(19 * 32), 1/sqrt(19), 1: .0406, .229, 1
    assert sizes == pytest.approx([1 / math.sqrt(608), 1 / math.sqrt(19), 1.0], rel=0.03)


def test_certain_and_silent_coordinates():
    samples = torch.tensor([[-2.0, 0.0], [-2.0, 0.0]])
    found = outcome(samples, "ema", steps=10)
    assert found.right_sign.tolist() == [1.0, 1.0]
    assert found.snr.tolist() == [math.inf, 0.0]
    without = outcome(samples, "batch", steps=10, momentum=0.0)
    assert without.snr.tolist() == [math.inf, 0.0]


def test_the_same_seed_gives_the_same_answer_and_no_global_random_state_is_touched():
    before = torch.random.get_rng_state()
    samples = drawn(gaussian, 0.1, n=50, coords=3)
    assert torch.equal(outcome(samples, "ema").snr, outcome(samples, "ema").snr)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 1.0}, "momentum must be"),
        ({"steps": 1}, "steps must be an integer >= 2"),
        ({"group_size": 5}, "group_size must divide batch_size=32, got 5"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        outcome(torch.ones(4, 2), "ema", **change)
    with pytest.raises(ValueError, match=r"samples must be \[N, coords\] with N >= 1, got shape \[0, 2\]"):
        outcome(torch.ones(0, 2), "ema")
    with pytest.raises(ValueError, match="placement"):
        outcome(torch.ones(4, 2), "late")
