"""Theorems about the readings of DGS. Each is checked on our formula and seen to fail on an altered one.

A theorem is a function of ``updates(gradients, reading, **options) -> [Δ]``. ``test_..._holds`` gives it
:func:`regrad.transforms.dgs.dgs_updates`; ``test_..._would_notice`` gives it a near miss.
"""

import math

import pytest
import torch

from regrad.transforms.dgs import (
    EQUATION_READINGS,
    READINGS,
    adaptive_learning_rates,
    dgs_updates,
    importance_scores,
    scaling_factors,
    update,
)
from regrad.transforms.dgs_geometry import (
    cosine,
    inverse_update_sizes,
    log_slope,
    step_norms,
    update_sizes,
)

RESNET20 = 269_722  # parameters of ResNet-20 with option A shortcuts


def normal(*shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


def random_gamma(gradients, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [10 * torch.rand(g.shape, generator=generator, dtype=g.dtype) for g in gradients]


def t1_the_equation_is_parallel_to_the_gradient_for_any_gamma(updates):
    gradients = normal((20, 30), (50,))
    for reading in ("equation", "equation_as_rate"):
        for gamma in ("1/n", 1.0, random_gamma(gradients)):
            delta = flat(updates(gradients, reading, lr=0.1, gamma=gamma))
            ratio = delta / flat(gradients)
            torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-12, atol=0)


def t2_the_equations_step_shrinks_with_the_parameter_count(updates):
    # ‖Δ‖₁ = lr ‖g‖₁ / (eps + ‖g‖₁) < lr; ‖Δ‖₂ = lr ‖g‖₂/‖g‖₁, for normal g lr sqrt(π/2n)
    for count in (100, 10_000, RESNET20):
        (delta,) = updates(normal((count,)), "equation", lr=1e-3, gamma=1.0)
        assert 0.999e-3 < float(delta.abs().sum()) < 1e-3
        assert 1e-3 / math.sqrt(count) <= float(delta.norm()) <= 1e-3
        assert float(delta.norm()) == pytest.approx(1e-3 * math.sqrt(math.pi / (2 * count)), rel=0.1)


def t3_equation_and_steps_ignore_a_common_scale_and_only_steps_ignores_one_per_entry(updates):
    (g,) = normal((1000,))
    scales = torch.logspace(-3, 3, 1000, dtype=g.dtype)

    def change(reading, scaled):
        before, after = (updates([x], reading, lr=1.0, eps=1e-12)[0] for x in (g, scaled))
        return float((after - before).norm() / before.norm())

    for reading in ("equation", "steps"):
        for common in (1e-3, 1e3):
            assert change(reading, common * g) < 1e-4
    assert change("steps", scales * g) < 1e-4
    assert change("equation", scales * g) > 1


def t4_the_step_does_not_vanish_with_the_gradient(updates):
    (g,) = normal((1000,))
    for size in (1.0, 1e-2, 1e-4):
        (delta,) = updates([size * g], "equation", lr=0.1, gamma=2.0, eps=1e-12)
        assert float(delta.abs().sum()) == pytest.approx(0.1 / 2, rel=1e-6)
        (delta,) = updates([size * g.sign()], "steps", lr=0.1, eps=1e-12)
        assert float(delta.norm()) == pytest.approx(0.1 * math.sqrt(1000), rel=1e-6)


def t5_steps_are_signs_up_to_eps_over_g_plus_eps(updates):
    # at eps = 1e-8: |g| = 1e-4 -> 0.9999, 1e-8 -> 1/2, 1e-12 -> 1e-4
    g = torch.tensor([1e-4, -1e-8, 1e-12], dtype=torch.float64)
    (delta,) = updates([g], "steps", lr=1.0, eps=1e-8)
    expected = torch.tensor([1 / 1.0001, -0.5, 1 / 10_001], dtype=torch.float64)
    torch.testing.assert_close(delta, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close((delta - g.sign()).abs(), 1e-8 / (g.abs() + 1e-8), rtol=1e-9, atol=0)


def t6_steps_are_adam_without_averages(updates):
    params = [torch.nn.Parameter(p) for p in normal((40, 5), (7,), dtype=torch.float32)]
    own = [p.detach().clone() for p in params]
    adam = torch.optim.Adam(params, lr=1e-3, betas=(0.0, 0.0))
    for step in range(10):
        gradients = normal((40, 5), (7,), seed=step, dtype=torch.float32)
        for p, g in zip(params, gradients, strict=True):
            p.grad = g
        adam.step()
        own = [p - d for p, d in zip(own, updates(gradients, "steps", lr=1e-3), strict=True)]
        for p, q in zip(params, own, strict=True):
            assert float((p.detach() - q).abs().max()) < 2e-6  # ten steps of float32 rounding at |θ| < 4


def t7_no_reading_gives_larger_gradients_smaller_updates(updates):
    g = torch.logspace(-6, 2, 200, dtype=torch.float64)
    for reading in READINGS:
        sizes = updates([g], reading, lr=1.0)[0].abs()
        assert bool((sizes.diff() >= 0).all()), reading
    # only the rate falls, and only for the steps, as step 3 says
    rates = updates([g], "steps", lr=1.0)[0] / g
    assert bool((rates.diff() < 0).all())


def t9_equation_and_steps_are_five_orders_of_magnitude_apart_on_resnet20(updates):
    (g,) = normal((RESNET20,))
    steps, equation = (updates([g], "steps", lr=1e-3)[0], updates([g], "equation", lr=1e-3, gamma=1.0)[0])
    # lr sqrt(n) over lr sqrt(π/2n) is n sqrt(2/π) = n / 1.2533
    assert float(steps.norm() / equation.norm()) == pytest.approx(RESNET20 / 1.2533, rel=0.01)
    assert float(steps.norm()) == pytest.approx(0.519, abs=1e-3)


def own_numerator(gradients, reading, **options):
    """Near miss of E1 and S1: the denominator of an entry also holds the entry itself once more."""
    deltas = dgs_updates(gradients, reading, **options)
    return [d / (1 + g.abs()) for d, g in zip(deltas, gradients, strict=True)]


def mean_for_sum(gradients, reading, **options):
    """Near miss of E1: γ = 1/n where γ = 1 is asked for."""
    return dgs_updates(gradients, reading, **({**options, "gamma": "1/n"} if "gamma" in options else options))


def squared(gradients, reading, **options):
    """Near miss of all: the numerator squared, the sign kept."""
    deltas = dgs_updates(gradients, reading, **options)
    return [d * g.abs() for d, g in zip(deltas, gradients, strict=True)]


def eps_under_a_root(gradients, reading, **options):
    """Near miss of S1: g / sqrt(g² + eps), Adam's other convention."""
    if reading != "steps":
        return dgs_updates(gradients, reading, **options)
    return [options["lr"] * g / (g * g + options.get("eps", 1e-8)).sqrt() for g in gradients]


def inverse(gradients, reading, **options):
    """Near miss of all: the sentence taken literally, lr g / (g² + eps)."""
    return [options["lr"] * g / (g * g + 1e-8) for g in gradients]


THEOREMS = [
    (t1_the_equation_is_parallel_to_the_gradient_for_any_gamma, own_numerator),
    (t2_the_equations_step_shrinks_with_the_parameter_count, mean_for_sum),
    (t3_equation_and_steps_ignore_a_common_scale_and_only_steps_ignores_one_per_entry, squared),
    (t4_the_step_does_not_vanish_with_the_gradient, squared),
    (t5_steps_are_signs_up_to_eps_over_g_plus_eps, eps_under_a_root),
    (t6_steps_are_adam_without_averages, own_numerator),
    (t7_no_reading_gives_larger_gradients_smaller_updates, inverse),
    (t9_equation_and_steps_are_five_orders_of_magnitude_apart_on_resnet20, mean_for_sum),
]
NAMES = [theorem.__name__ for theorem, _ in THEOREMS]


@pytest.mark.parametrize("theorem", [t for t, _ in THEOREMS], ids=NAMES)
def test_the_theorem_holds_for_the_formula(theorem):
    theorem(dgs_updates)


@pytest.mark.parametrize(("theorem", "altered"), THEOREMS, ids=NAMES)
def test_the_theorem_would_notice_an_altered_formula(theorem, altered):
    with pytest.raises(AssertionError):
        theorem(altered)


def test_t8_the_absolute_value_in_the_numerator_is_no_descent_direction():
    """E2 lowers every parameter whatever the sign of its gradient, so half of all slopes are climbed."""
    g = torch.tensor([1.0, -3.0])
    d = float(g.abs().sum())
    e2 = g.abs() / d
    # <Δ, g> = (1·1 − 3·3)/4 = −2 < 0: a step against Δ climbs; E1 on the same gradient has (1 + 9)/4
    assert float(e2.dot(g)) == -2.0
    assert bool((e2 > 0).all())
    assert float(dgs_updates([g], "equation", lr=1.0, gamma=1.0, eps=1e-12)[0].dot(g)) == pytest.approx(2.5)
    # one step on J = θ₁ − 3 θ₂, whose gradient is g everywhere, from 0: E2 goes up by 2, E1 down by 2.5
    assert float(g.dot(-e2)) == 2.0


def test_the_four_steps_in_the_documents_order_are_the_reading_steps():
    (parameters, gradients) = normal((4, 3), (4, 3))
    rates = adaptive_learning_rates(0.001, scaling_factors(importance_scores(gradients), 1e-8))
    (delta,) = dgs_updates([gradients], "steps", lr=0.001, eps=1e-8)
    assert torch.equal(update(parameters, gradients, rates), parameters - delta)


def test_the_four_steps_by_hand():
    g = torch.tensor([2.0, -0.5])
    scores = importance_scores(g)
    assert scores.tolist() == [2.0, 0.5]
    factors = scaling_factors(scores, 0.5)  # 1/2.5, 1/1
    torch.testing.assert_close(factors, torch.tensor([0.4, 1.0]))
    rates = adaptive_learning_rates(0.1, factors)
    torch.testing.assert_close(rates, torch.tensor([0.04, 0.1]))
    # 1 − 0.04·2 and 1 + 0.1·0.5
    torch.testing.assert_close(update(torch.ones(2), g, rates), torch.tensor([0.92, 1.05]))


def test_the_equation_as_rate_is_the_equation_and_per_tensor_readings_agree_on_one_tensor():
    gradients = normal((6,), (2, 2))
    for a, b in zip(*(dgs_updates(gradients, r, lr=0.1) for r in ("equation", "equation_as_rate")), strict=True):
        assert torch.equal(a, b)
    one = gradients[:1]
    assert torch.equal(*(dgs_updates(one, r, lr=0.1)[0] for r in ("equation", "equation_per_tensor")))


def test_panel_one_has_slope_one_for_the_equation_two_for_e4_zero_for_steps_and_minus_one_for_no_reading():
    sizes = [10.0**k for k in range(-3, 3)]
    slopes = {r: log_slope(sizes, update_sizes(sizes, r)) for r in READINGS}
    for reading in EQUATION_READINGS:
        expected = 2 if reading == "equation_magnitude_rate" else 1
        assert slopes[reading] == pytest.approx(expected, abs=1e-9)
    assert slopes["steps"] == pytest.approx(0, abs=1e-4)
    assert slopes["steps_per_tensor"] == pytest.approx(1, abs=1e-9)
    assert log_slope(sizes, inverse_update_sizes(sizes)) == pytest.approx(-1, abs=0.01)


def cosines(gradients, **options):
    updates = {reading: dgs_updates(gradients, reading, lr=1.0, **options) for reading in READINGS}
    return {reading: cosine(deltas, gradients) for reading, deltas in updates.items()}


def test_panel_two_has_cosine_one_for_the_equation_and_sqrt_two_over_pi_for_steps_on_a_normal_gradient():
    found = cosines(normal((100_000,), (50_000,)))
    for reading in ("equation", "equation_tensor_norms", "equation_as_rate"):
        assert found[reading] == pytest.approx(1, abs=1e-12)
    # <sign g, g> / (sqrt(n) ‖g‖) = E|g| = sqrt(2/π)
    assert found["steps"] == pytest.approx(math.sqrt(2 / math.pi), abs=0.005)
    # γ = 1 and 3 per tensor: Δ ∝ (1, 0), (0, 1/3) for g = (1, 0), (0, 1), so (1 + 1/3) / sqrt(2 (1 + 1/9))
    weighed = cosines([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])], gamma=[1.0, 3.0])
    assert weighed["equation_per_tensor"] == pytest.approx(4 / 3 / math.sqrt(20 / 9), abs=1e-6)
    assert math.isnan(cosine([torch.zeros(2)], [torch.ones(2)]))


def test_panel_three_falls_like_one_over_sqrt_n_for_the_equation_and_grows_like_sqrt_n_for_steps():
    counts = [10**k for k in range(2, 7)]
    e1 = step_norms(counts, "equation", torch.Generator().manual_seed(0))
    assert log_slope(counts, e1) == pytest.approx(-0.5, abs=0.02)
    s1 = step_norms(counts, "steps", torch.Generator().manual_seed(0))
    assert log_slope(counts, s1) == pytest.approx(0.5, abs=0.001)
    mean = step_norms(counts, "equation", torch.Generator().manual_seed(0), gamma="1/n")
    assert log_slope(counts, mean) == pytest.approx(0.5, abs=0.02)
