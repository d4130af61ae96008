"""Adam's preconditioner family as functions: by hand, its expectations, and its resolution."""

import math

import pytest
import torch

from regrad.transforms.adam_family import (
    adam_step_,
    average_,
    average_square_,
    bounded_sum,
    coefficient,
    resolution,
)
from regrad.transforms.clip_statistics import clip_statistics, scale_statistics


def test_averages_by_hand():
    average = torch.tensor([4.0, 8.0])
    average_square_(average, torch.tensor([2.0, -4.0]), 0.75)  # 3 + 4/4, 6 + 16/4
    assert average.tolist() == [4.0, 10.0]
    average_(average, torch.tensor([2.0, 4.0]), 0.75, scale=-3.0)  # 3 - 6/4, 7.5 - 12/4
    assert average.tolist() == [1.5, 4.5]


def test_the_bound_by_hand():
    square, excess = torch.tensor([1.0, 1.0, 2.0, 0.0]), torch.tensor([-0.5, -0.9, 1.0, 0.0])
    nu, clipped = bounded_sum(square, excess, 0.25)
    assert nu.tolist() == [0.5, 0.25, 3.0, 0.0]  # only 1 - 0.9 = 0.1 < 0.25 is lifted
    assert float(clipped) == 0.25
    nu, clipped = bounded_sum(square, excess - 0.5, 0.0)  # 0, -0.4 and -0.5 would be left: two are clipped
    assert nu.tolist() == pytest.approx([0.0, 0.0, 2.5, 0.0])
    assert float(clipped) == 0.5
    assert float(bounded_sum(torch.zeros(0), torch.zeros(0), 0.5)[1]) == 0


def test_one_step_by_hand():
    # m̂ = 0.2/(1 - 0.5²) = 0.2667, ν̂ = 0.03/(1 - 0.5²) = 0.04; θ = 1 - 0.3 * 0.2667/(0.2 + 0.2) = 0.8
    param = torch.tensor([1.0], dtype=torch.float64)
    moments = (torch.tensor([0.2], dtype=torch.float64), torch.tensor([0.03], dtype=torch.float64))
    adam_step_(param, moments, step=2, lr=0.3, betas=(0.5, 0.5), eps=0.2)
    assert param.item() == pytest.approx(0.8, abs=1e-12)


def test_resolution_by_hand_and_by_simulation():
    assert resolution(0.999, 10**6) == pytest.approx(0.0316, abs=1e-4)  # sqrt(2 * 0.001/1.999)
    assert resolution(0.98, 10**6) == pytest.approx(0.1421, abs=1e-4)  # sqrt(2 * 0.02/1.98)
    assert resolution(0.999, 1) == 1.0
    # pure noise, B = 64, 40 steps: the debiased average of gbar² - v/B, in units of σ²/B
    generator = torch.Generator().manual_seed(0)
    average = torch.zeros(2000)
    for _ in range(40):
        draws = torch.randn(64, 2000, generator=generator)
        average_(average, draws.mean(0).square() * 64 - draws.var(0), 0.95)
    assert float(average.std() / (1 - 0.95**40)) == pytest.approx(resolution(0.95, 40), rel=0.1)


def test_coefficients_by_name_and_number():
    assert coefficient("adam") is None
    assert [coefficient(c) for c in ("mean_square", "micro", "variance", 2)] == [0.0, 1.0, math.inf, 2.0]


@pytest.mark.parametrize("bad", ["median", True, False, None, math.nan, math.inf, -0.5, ["micro"], ("a", 1)])
def test_an_unknown_preconditioner_is_refused_with_the_choices(bad):
    with pytest.raises(ValueError, match=r"preconditioner must be one of 'adam', .* or a finite number"):
        coefficient(bad)


def test_clipping_scales_every_statistic_by_its_degree():
    # means 3 and 4: norm 5, clipped to 2.5: factor 0.5
    statistics = {
        kind: {"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])}
        for kind in ("mean", "mean_abs", "mean_square", "variance", "mean_sign")
    }
    clipped, norm = clip_statistics(statistics, 2.5)
    assert float(norm) == 5.0
    for kind, factor in (("mean", 0.5), ("mean_abs", 0.5), ("mean_square", 0.25), ("variance", 0.25)):
        assert float(clipped[kind]["a"]) == pytest.approx(3 * factor)
        assert float(clipped[kind]["b"]) == pytest.approx(4 * factor)
    assert clipped["mean_sign"]["a"].tolist() == [3.0]
    assert statistics["mean"]["a"].tolist() == [3.0]
    unclipped, _ = clip_statistics(statistics, 100.0)
    assert torch.equal(unclipped["variance"]["b"], statistics["variance"]["b"])


def test_clipping_is_that_of_torch_and_of_scaled_per_example_gradients():
    examples = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    statistics = {"mean": {"w": examples.mean(0)}, "variance": {"w": examples.var(0)}}
    clipped, norm = clip_statistics(statistics, 0.1)
    weight = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    weight.grad = examples.mean(0)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_([weight], 0.1), rtol=0, atol=0)
    torch.testing.assert_close(clipped["mean"]["w"], weight.grad, rtol=1e-15, atol=0)
    scaled = examples * 0.1 / (norm + 1e-6)
    torch.testing.assert_close(clipped["variance"]["w"], scaled.var(0))


def test_statistics_that_cannot_be_scaled_are_refused_by_name():
    with pytest.raises(ValueError, match=r"statistic must be one of 'mean', .*, got 'norm'"):
        scale_statistics({"norm": {"w": torch.ones(3)}}, 0.5)
    with pytest.raises(ValueError, match="statistics must hold 'mean', got 'variance'"):
        clip_statistics({"variance": {"w": torch.ones(3)}}, 1.0)
    with pytest.raises(ValueError, match="max_norm"):
        clip_statistics({"mean": {"w": torch.ones(3)}}, 0.0)
