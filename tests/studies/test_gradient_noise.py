"""The measurement behind the predictions, on models whose per-example gradients are known.

One of the seeded faults: with κ or √B taken out of ``predicted_snr`` in ``transforms/signal_to_noise.py`` the
test by hand below fails, as does ``tests/transforms/test_signal_to_noise.py``.
"""

import math

import pytest
import torch
from torch import nn

from regrad.problems.batch import Batch
from regrad.results import Part
from regrad.runner.measures import Checkpoint
from regrad.runner.train import run
from regrad.studies.sign_placement.runtime.gradient_noise import CHUNK, GradientNoise, sample_coordinates
from tiny_runs import FINGERPRINT, spec


class Known(nn.Module):
    """Output x · weight; ``idle`` never takes part."""

    def __init__(self, weights=1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(weights))
        self.idle = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x @ self.weight + 0 * self.idle.sum()


class Given:
    """A problem whose example i has the per-example gradient ``rows[i]``, over and over."""

    def __init__(self, rows):
        self.rows, self.asked = torch.tensor(rows), []

    def batch(self, step, size):
        numbers = torch.arange(step * size, (step + 1) * size)
        self.asked += numbers.tolist()
        return Batch(self.rows[numbers % len(self.rows)], torch.zeros(size))

    def losses(self, model, batch):
        return model(batch.inputs)


def measured(rows, *, examples=16, batch_size=4, momentum=0.0, groups=(), **options):
    noise = GradientNoise(examples, batch_size, momentum, groups, **options)
    problem = Given(rows)
    return noise(Checkpoint(Known(len(rows[0])), problem, spec(steps=2, batch_size=batch_size))), problem


def phi(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def h(s):
    e = math.erf(s / math.sqrt(2))
    return e / math.sqrt(1 - e * e)


def test_two_valued_gradients_by_hand():
    # Eight gradients 3 and eight 1: mean 2, variance 16/15, debiased square 4 - 1/15 = 59/15.
    # s² = (59/15)/(16/15) = 59/16. Two equal points: kurtosis 1. Median 2: agrees with the mean.
    values, _ = measured([[3.0], [1.0]])
    s = math.sqrt(59 / 16)
    assert values["noise/weight/snr"] == pytest.approx(s, rel=1e-5)
    assert values["noise/weight/kurtosis"] == pytest.approx(1.0, rel=1e-5)
    assert values["noise/weight/agreement"] == 1.0
    # B = 4, momentum 0, so κ = 1: √4 h(s) for example, h(√4 s) for batch, √4 s inside Φ for ema.
    assert values["noise/weight/gaussian/example"] == pytest.approx(phi(2 * h(s)), rel=1e-6)
    assert values["noise/weight/gaussian/batch"] == pytest.approx(phi(h(2 * s)), rel=1e-6)
    assert values["noise/weight/gaussian/ema"] == pytest.approx(phi(2 * s), rel=1e-6)
    # No gradient is negative: every resampled update is +1 and right. Its root mean square is over all
    # coordinates, the three idle ones too: sqrt(1/4).
    for arm in ("example", "batch", "ema"):
        assert values[f"noise/weight/resampled/{arm}"] == 1.0
        assert values[f"noise/all/resampled_right/{arm}"] == 1.0
        assert values[f"noise/all/rms/{arm}"] == pytest.approx(0.5)


def test_weak_gradients_with_momentum_and_groups_by_hand():
    # Gradients 1.5 and -0.5 in turn: mean 0.5, variance 16/15, debiased square 1/4 - 1/15 = 11/60,
    # s² = (11/60)/(16/15) = 11/64. Momentum 0.6: κ = √(1.6/0.4) = 2. B = 4, groups of k = 2.
    values, _ = measured([[1.5], [-0.5]], momentum=0.6, groups=(2,))
    s = math.sqrt(11 / 64)
    assert values["noise/weight/snr"] == pytest.approx(s, rel=1e-5)
    expected = {
        "example": phi(2 * 2 * h(s)),
        "group-2": phi(2 * math.sqrt(2) * h(s * math.sqrt(2))),
        "batch": phi(2 * h(2 * s)),
        "ema": phi(2 * 2 * s),
    }
    for arm, share in expected.items():
        assert values[f"noise/weight/gaussian/{arm}"] == pytest.approx(share, rel=1e-5)


def test_skewed_gradients_give_the_early_sign_the_wrong_limit():
    # Three gradients -1 for each +5: mean 0.5, median -1, mean of signs -0.5.
    values, _ = measured([[-1.0], [-1.0], [-1.0], [5.0]], examples=64, momentum=0.9, resamples=200)
    assert values["noise/weight/agreement"] == 0.0
    assert values["noise/weight/resampled/example"] < 0.1
    # The average over all coordinates leaves the idle ones out: not to move is right for them.
    assert values["noise/all/resampled_right/example"] == values["noise/weight/resampled/example"]
    assert values["noise/weight/resampled/ema"] > 0.6
    assert values["noise/weight/gaussian/example"] > 0.5, "the Gaussian formula cannot see skew"


def test_a_parameter_without_gradient_is_left_out_and_enters_no_average():
    values, _ = measured([[3.0, 0.0], [1.0, 0.0]])
    assert not any(name.startswith("noise/idle") for name in values)
    assert values["noise/all/resampled_right/ema"] == 1.0
    assert values["noise/weight/agreement"] == 1.0


@pytest.mark.parametrize(("steps", "batch_size"), [(2, 4), (25, 16), (200, 16), (7, 3), (1, 100)])
def test_the_examples_looked_at_are_never_trained_on(steps, batch_size):
    problem = Given([[1.0], [2.0]])
    at = Checkpoint(Known(), problem, spec(steps=steps, batch_size=batch_size))
    GradientNoise(20, 4, 0.0, resamples=2)(at)
    assert min(problem.asked) >= steps * batch_size
    assert len(problem.asked) == len(set(problem.asked)) == 2 * CHUNK  # 20 rounded up to whole chunks


def test_checkpoints_are_shares_of_the_run():
    noise = GradientNoise(16, 4, 0.9)
    assert [step for step in range(11) if noise.wants(step, spec(steps=10))] == [0, 2, 5, 10]


def test_the_sample_of_coordinates_is_the_same_each_time_and_has_no_repetition():
    model = nn.Linear(30, 20)
    first, again = sample_coordinates(model, 128), sample_coordinates(model, 128)
    assert {name: len(index) for name, index in first.items()} == {"weight": 128, "bias": 20}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert len(set(first["weight"].tolist())) == 128


def test_a_measurement_does_not_disturb_the_run_or_the_global_generator(tmp_path):
    options = {"examples": 16, "batch_size": 2, "momentum": 0.9, "coordinates": 4, "resamples": 5}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    plain = run(spec(), FINGERPRINT, cache=tmp_path)
    looked = run(spec(measures=(Part(name="gradient_noise", options=options),)), FINGERPRINT, cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert looked.curves["validation_loss"] == plain.curves["validation_loss"]
    shares = looked.curves["noise/all/resampled_right/ema"]
    assert shares.x == [0.0, 1.0, 2.0]  # shares 0, 1/4, 1/2 and 1 of two steps
    assert all(0 <= y <= 1 for y in shares.y)
    layers = {name.split("/")[1] for name in looked.curves if name.startswith("noise/")}
    assert {"all", "embedding.weight", "head.weight"} <= layers
