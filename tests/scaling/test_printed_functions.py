"""The three functions ALSDGC prints, against their text, and the averages that repair them."""

import inspect
import math

import numpy as np
import pytest
import torch

from regrad.transforms import clipping, loss_scale


def params_with_grads(*grads):
    params = []
    for grad in grads:
        params.append(torch.nn.Parameter(torch.zeros_like(grad)))
        params[-1].grad = grad.clone()
    return params


def random_grads(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (5,), (), (2, 1, 3)]
    size = 10.0 ** torch.empty(1).uniform_(-3, 3, generator=generator).item()
    return [size * torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


class TestDynamicGradientClipping:
    def test_by_hand_a_3_4_gradient_is_cut_to_length_one(self):
        (p,) = params_with_grads(torch.tensor([3.0, 4.0], dtype=torch.float64))
        assert clipping.dynamic_gradient_clipping(p, 1.0).item() == 5.0
        # coefficient 1 / (5 + 1e-6)
        torch.testing.assert_close(p.grad, torch.tensor([0.6, 0.8], dtype=torch.float64), rtol=3e-7, atol=0)
        assert p.grad.norm().item() == pytest.approx(5 / (5 + 1e-6), rel=1e-15)

    @pytest.mark.parametrize("p", [0.5, 1, 2, 2.5, 3, 7, math.inf, "inf"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equals_torch_to_the_bit_for_any_p(self, p, dtype):
        for seed in range(40):
            grads = random_grads(seed, dtype)
            ours, theirs = params_with_grads(*grads), params_with_grads(*grads)
            norm = clipping.dynamic_gradient_clipping(ours, 1.0, p)
            assert norm.equal(torch.nn.utils.clip_grad_norm_(theirs, 1.0, p))
            assert all(a.grad.equal(b.grad) for a, b in zip(ours, theirs, strict=True))

    def test_leaves_gradients_below_the_threshold_as_they_are_to_the_bit(self):
        grads = random_grads(0)
        params = params_with_grads(*grads)
        clipping.dynamic_gradient_clipping(params, 1e9)
        assert all(p.grad.equal(grad) for p, grad in zip(params, grads, strict=True))

    def test_takes_a_tensor_a_generator_and_parameters_without_gradient(self):
        (p,) = params_with_grads(torch.tensor([3.0, 4.0]))
        bare, empty = torch.nn.Parameter(torch.ones(2)), params_with_grads(torch.zeros(0))[0]
        assert clipping.dynamic_gradient_clipping((q for q in (bare, p, empty)), 9.0, math.inf).item() == 4.0
        assert clipping.dynamic_gradient_clipping([bare], 1.0).item() == 0.0
        assert bare.grad is None

    def test_a_nan_norm_clips_nothing_where_torch_makes_everything_nan(self):
        (p,) = params_with_grads(torch.tensor([math.nan, 7.0]))
        clipping.dynamic_gradient_clipping(p, 1.0)
        assert p.grad[1] == 7.0
        torch.nn.utils.clip_grad_norm_(p, 1.0)
        assert p.grad.isnan().all()


class TestUpdateLossScale:
    @pytest.mark.parametrize(
        ("scale", "overflow", "expected"),
        [(1, False, 2), (65536, False, 65536), (4e4, False, 65536), (8, True, 4), (1, True, 1)],
    )
    def test_by_hand_it_doubles_up_to_65536_and_halves_down_to_1(self, scale, overflow, expected):
        assert loss_scale.update_loss_scale(scale, 1.5, 0.3, overflow=overflow) == expected

    def test_its_printed_defaults_are_2_one_half_1000_and_no_overflow(self):
        parameters = inspect.signature(loss_scale.update_loss_scale).parameters
        printed = {"growth_factor": 2.0, "shrink_factor": 0.5, "growth_interval": 1000, "overflow": False}
        assert list(parameters)[:3] == ["loss_scale", "gradient_norm", "loss"]
        assert {name: parameters[name].default for name in printed} == printed


class TestUpdateClippingThreshold:
    def test_the_printed_main_prints_1_1(self):
        new_threshold = clipping.update_clipping_threshold(1.0, 1.5, 0.1)
        assert f"New Threshold: {new_threshold:g}" == "New Threshold: 1.1"

    @pytest.mark.parametrize(
        ("norm", "expected"), [(0.21, 2.2), (0.2, 2.0 / 1.1), (0.0, 2.0 / 1.1), (math.nan, 2.0 / 1.1)]
    )
    def test_by_hand_it_rises_only_if_the_norm_exceeds_threshold_times_lr(self, norm, expected):
        assert clipping.update_clipping_threshold(2.0, norm, 0.1) == expected


RULE = {"growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3, "min_scale": 1.0, "max_scale": 64}


class TestGrowAfterInterval:
    def test_by_hand_three_good_steps_earn_a_growth_and_an_overflow_starts_the_count_again(self):
        state = (8.0, 0)
        seen = []
        for overflow in [False, False, True, False, False, False, False]:
            state = loss_scale.grow_after_interval(*state, overflow=overflow, **RULE)
            seen.append(state)
        assert seen == [(8, 1), (8, 2), (4, 0), (4, 1), (4, 2), (8, 0), (8, 1)]

    def test_the_scale_stays_within_its_bounds_and_float32(self):
        assert loss_scale.grow_after_interval(64.0, 2, overflow=False, **RULE) == (64.0, 0)
        assert loss_scale.grow_after_interval(1.0, 2, overflow=True, **RULE) == (1.0, 0)
        wide = RULE | {"max_scale": math.inf}
        assert loss_scale.grow_after_interval(2.0**127, 2, overflow=False, **wide) == (2.0**127, 0)

    def test_float32_rounds_as_torch_does(self):
        values = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert [loss_scale.float32(v) for v in values.tolist()] == values.float().double().tolist()
        assert loss_scale.float32(-1e39) == -math.inf


class TestAverages:
    def test_by_hand_the_first_values_are_averaged_plainly_then_exponentially(self):
        moments = clipping.Moments()
        for value in [1.0, 3.0]:
            moments = clipping.update_moments(moments, value, beta=0.5)
        assert moments == (2, 2.0, 1.0)  # mean and population variance of 1 and 3
        # the third weight is max(0.5, 1/3): mean 2 + 0.5 * 4, variance 0.5 * (1 + 0.5 * 16)
        assert clipping.update_moments(moments, 6.0, beta=0.5) == (3, 4.0, 4.5)

    def test_before_1_over_1_minus_beta_values_moments_are_numpys(self):
        values = np.random.default_rng(0).normal(5.0, 2.0, 50)
        moments = clipping.Moments()
        for value in values:
            moments = clipping.update_moments(moments, float(value), beta=0.98)
        assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
        assert moments.variance == pytest.approx(values.var(), rel=1e-12)

    def test_a_value_is_high_beyond_so_many_standard_deviations_also_when_there_is_no_spread(self):
        moments = clipping.Moments(9, 2.0, 4.0)
        assert not clipping.is_high(moments, 8.0, zscore=3.0)
        assert clipping.is_high(moments, 8.001, zscore=3.0)
        assert not clipping.is_high(clipping.Moments(9, 2.0, 0.0), 2.0, zscore=3.0)

    def test_by_hand_a_high_loss_tightens_and_recovery_many_others_undo_it(self):
        rule = {"factor": 1.21, "recovery": 2, "low": 1.0, "high": 4.0}
        tight = clipping.gate_multiple(2.42, True, **rule)
        assert tight == pytest.approx(2.0)
        assert clipping.gate_multiple(tight, False, **rule) == pytest.approx(2.2)  # times sqrt(1.21)
        assert clipping.gate_multiple(1.1, True, **rule) == 1.0
        assert clipping.gate_multiple(3.9, False, **rule) == 4.0

    def test_percentile_is_numpys(self):
        values = sorted(np.random.default_rng(1).lognormal(size=37).tolist())
        for percent in (0, 10, 33.3, 50, 90, 100):
            expected = np.percentile(values, percent)
            assert clipping.percentile(values, percent) == pytest.approx(expected, rel=1e-14)
