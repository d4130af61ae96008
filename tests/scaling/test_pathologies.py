"""What ALSDGC's printed rules do (Z1 to Z10): theorems that hold for them and fail for altered ones.

Each theorem is a function of the rules. It must hold for the printed rules, and each alteration listed
beside it must break it: so a theorem here cannot be empty.
"""

import inspect
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import pytest
import torch

from regrad.scaling import simulate
from regrad.transforms.clipping import dynamic_gradient_clipping, update_clipping_threshold
from regrad.transforms.loss_scale import update_loss_scale


@dataclass(frozen=True)
class Rules:
    clip: Callable = dynamic_gradient_clipping
    scale: Callable = update_loss_scale
    threshold: Callable = update_clipping_threshold
    unscale: bool = False
    growth_interval: int | None = None

    def path(self, norms, lr, **changes):
        rules = {"unscale": self.unscale, "scale_rule": self.scale, "threshold_rule": self.threshold}
        return simulate.literal_path(norms, lr, **rules | changes)


PRINTED = Rules()


def lognormal_norms(steps=20_000, spike=1.0):
    """Norms with median 1 and log-sd 0.5; every 1,000th is multiplied by ``spike``."""
    rng = random.Random(0)
    return [math.exp(rng.gauss(0.0, 0.5)) * (spike if t % 1000 == 999 else 1.0) for t in range(steps)]


def caught_spikes(rules, lr):
    path = rules.path(lognormal_norms(spike=100.0), lr, unscale=True)
    return sum(path.measured[t] > path.threshold[t] for t in range(1999, 20_000, 1000))


def z1_neither_loss_nor_norm_moves_the_scale_and_no_loss_moves_the_threshold(rules):
    values = (0.0, 1e-9, 1.0, 1e9, math.inf, math.nan)
    assert {rules.scale(8.0, norm, loss) for norm in values for loss in values} == {16.0}
    assert "loss" not in inspect.signature(rules.threshold).parameters


def z2_the_scale_is_a_clock_of_16_doublings(rules):
    assert simulate.scale_clock(40, rule=rules.scale) == [2.0 ** min(t, 16) for t in range(41)]


def z3_without_unscaling_the_learning_rate_is_multiplied_by_up_to_65536(rules):
    for lr in (1e-1, 1e-2, 1e-3):
        multiplier = rules.path([1.5] * 300, lr).multiplier
        # min(s, θ/g): 1/1.5, then 1.1**16/1.5, 1.1**50/1.5, 1.1**100/1.5, and from 121 steps on s itself
        seen = [multiplier[t] for t in (0, 16, 50, 100)]
        assert seen == pytest.approx([0.6667, 3.0633, 78.261, 9187.1], rel=1e-4)
        assert set(multiplier[121:]) == {65536.0}


def z4_the_threshold_goes_to_median_over_lr_by_ten_percent_a_step_and_stays(rules):
    norms = lognormal_norms()
    for lr in (1e-1, 1e-2, 1e-3, 1e-4):
        steps = round(simulate.steps_to_fixed_point(1.5, lr))
        steady = rules.path([1.5] * 400, lr, unscale=True).threshold
        arrival = next((t for t, theta in enumerate(steady) if theta >= 1.5 / lr), math.inf)
        assert abs(arrival - steps) <= 1
        assert all(1.5 / lr / 1.11 <= theta <= 1.11 * 1.5 / lr for theta in steady[150:])
        falling = rules.path([1.5] * 400, lr, unscale=True, init_threshold=1e6).threshold
        assert all(1.5 / lr / 1.11 <= theta <= 1.11 * 1.5 / lr for theta in falling[180:])
        noisy = rules.path(norms, lr, unscale=True).threshold[1000:]
        middle = math.exp(sum(map(math.log, noisy)) / len(noisy))
        assert middle == pytest.approx(simulate.threshold_fixed_point(norms, lr), rel=0.05)


def z5_clipping_is_inert(rules):
    for lr in (1e-1, 1e-2, 1e-3):
        assert rules.path(lognormal_norms(), lr, unscale=True).clip_rate(1000) == 0.0
        # Before that: while 1.1**t < 1.5 if unscaled, while 1.1**t < 65536 * 1.5 if not, whatever the lr.
        for unscale, last in ((True, 4), (False, 120)):
            path = rules.path([1.5] * 400, lr, unscale=unscale)
            clipped = [norm > theta for norm, theta in zip(path.measured, path.threshold, strict=True)]
            assert clipped == [t <= last for t in range(400)]


def z6_an_explosion_slower_than_ten_percent_a_step_is_never_clipped(rules):
    assert rules.path([0.5 * 1.09**t for t in range(1000)], 0.1, unscale=True).clip_rate() == 0.0
    assert rules.path([0.5 * 1.11**t for t in range(1000)], 0.1, unscale=True).clip_rate() > 0.9


def z7_what_is_clipped_depends_on_the_learning_rate_because_units_do_not_match(rules):
    assert [caught_spikes(rules, lr) for lr in (1e-1, 1e-2, 1e-3)] == [19, 7, 0]


def z7_read_as_lr_times_g_it_clips_everything_and_squares_the_learning_rate(rules):
    path = rules.path(lognormal_norms(), 0.1, unscale=True, threshold_rule=lr_times_norm_rule(rules))
    multiplier = path.multiplier[1000:]
    assert path.clip_rate(1000) > 0.999
    assert sum(multiplier) / len(multiplier) == pytest.approx(0.115, abs=0.001)


def z7_read_without_lr_it_clips_half_of_the_steps(rules):
    path = rules.path(lognormal_norms(), 0.1, unscale=True, threshold_rule=lr_free_rule(rules))
    assert path.clip_rate(1000) == pytest.approx(0.5, abs=0.01)


def z8_told_of_overflows_but_without_an_interval_every_second_step_overflows(rules):
    overflows = simulate.overflow_path(10_006, 1000.0, growth_interval=rules.growth_interval)
    assert all(overflow == (t % 2 == 0) for t, overflow in enumerate(overflows[6:]))
    assert len(overflows) == 10_006


def z8_one_infinite_entry_destroys_every_weight(rules):
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([math.inf, 1.0, 2.0])
    rules.clip([weight], 1.0)
    assert weight.grad[0].isnan()
    assert weight.grad[1:].tolist() == [0.0, 0.0]
    optimizer = torch.optim.Adam([weight], lr=0.1)
    optimizer.step()
    assert weight[0].isnan()
    weight.grad = torch.tensor([math.nan, 1e9, 1e9])
    rules.clip([weight], 1.0)
    assert weight.grad[1:].tolist() == [1e9, 1e9]  # a nan norm is not clipped at all


def z9_during_the_ramp_the_norm_doubles_while_the_threshold_it_is_held_to_moves_ten_percent(rules):
    path = rules.path([1.5] * 20, 0.1)
    for t in range(16):
        assert path.measured[t + 1] / path.measured[t] == 2.0
        assert abs(math.log(path.threshold[t + 1] / path.threshold[t])) == pytest.approx(math.log(1.1))
    assert path.applied[0] == pytest.approx(path.threshold[0], rel=1e-5)  # the old θ, not the updated one
    assert f"{rules.threshold(1.0, 1.5, 0.1):g}" == "1.1"


def z10_six_constants_are_all_that_is_given(rules):
    signatures = [inspect.signature(rule).parameters for rule in (rules.scale, rules.threshold, rules.clip)]
    defaults = {name: p.default for signature in signatures for name, p in signature.items()}
    required = {name for name, default in defaults.items() if default is inspect.Parameter.empty}
    assert {"loss_scale", "current_threshold", "learning_rate", "max_norm"} <= required  # s0, θ0, lr
    given = {name: defaults[name] for name in defaults.keys() - required - {"overflow", "norm_type"}}
    assert sorted(given.values()) == [0.5, 1.0, 1.1, 2.0, 1000, 2.0**16]
    assert rules.scale(8.0, 1.0, 1.0, growth_interval=1) == rules.scale(8.0, 1.0, 1.0, growth_interval=10**9)


def lr_times_norm_rule(rules):
    return lambda threshold, norm, lr: rules.threshold(threshold, lr * norm, 1.0)


def lr_free_rule(rules):
    return lambda threshold, norm, lr: rules.threshold(threshold, norm, 1.0)


def loss_aware(scale, norm, loss, **rest):
    return update_loss_scale(scale, norm, loss, overflow=not loss < 1e6, **rest)


def norm_aware(scale, norm, loss, **rest):
    return update_loss_scale(scale, norm, loss, overflow=norm > 1e6, **rest)


def guarded_clip(parameters, max_norm, norm_type=2.0):
    if all(p.grad.isfinite().all() for p in parameters):
        dynamic_gradient_clipping(parameters, max_norm, norm_type)
    else:
        for p in parameters:
            p.grad = torch.zeros_like(p)


def falling_rule(threshold, norm, lr):
    return threshold / 1.1 if norm > threshold * lr else threshold * 1.1


def scale_from_16(loss_scale=16.0, gradient_norm=1.0, loss=1.0, **constants):
    return update_loss_scale(loss_scale, gradient_norm, loss, **constants)


FASTER = replace(PRINTED, threshold=partial(update_clipping_threshold, adjustment_factor=1.2))
UNSCALED = replace(PRINTED, unscale=True)
NO_LR = replace(PRINTED, threshold=lr_free_rule(PRINTED))
FALLING = replace(PRINTED, threshold=falling_rule)
SLOW_CLOCK = replace(PRINTED, scale=partial(update_loss_scale, growth_factor=1.1))
THEOREMS = {
    z1_neither_loss_nor_norm_moves_the_scale_and_no_loss_moves_the_threshold: [
        replace(PRINTED, scale=loss_aware),
        replace(PRINTED, scale=norm_aware),
        replace(PRINTED, threshold=lambda threshold, norm, lr, loss=0.0: threshold),
    ],
    z2_the_scale_is_a_clock_of_16_doublings: [
        SLOW_CLOCK,
        replace(PRINTED, scale=partial(update_loss_scale, max_scale=2.0**17)),
        replace(PRINTED, scale=loss_aware),
    ],
    z3_without_unscaling_the_learning_rate_is_multiplied_by_up_to_65536: [UNSCALED, FASTER, FALLING],
    z4_the_threshold_goes_to_median_over_lr_by_ten_percent_a_step_and_stays: [FASTER, NO_LR, FALLING],
    z5_clipping_is_inert: [NO_LR, FASTER, FALLING],
    z6_an_explosion_slower_than_ten_percent_a_step_is_never_clipped: [FASTER, FALLING],
    z7_what_is_clipped_depends_on_the_learning_rate_because_units_do_not_match: [NO_LR, FALLING],
    z7_read_as_lr_times_g_it_clips_everything_and_squares_the_learning_rate: [FALLING, FASTER],
    z7_read_without_lr_it_clips_half_of_the_steps: [FALLING],
    z8_told_of_overflows_but_without_an_interval_every_second_step_overflows: [
        replace(PRINTED, growth_interval=2),
        replace(PRINTED, growth_interval=2000),
    ],
    z8_one_infinite_entry_destroys_every_weight: [replace(PRINTED, clip=guarded_clip)],
    z9_during_the_ramp_the_norm_doubles_while_the_threshold_it_is_held_to_moves_ten_percent: [
        UNSCALED,
        SLOW_CLOCK,
        FASTER,
    ],
    z10_six_constants_are_all_that_is_given: [
        replace(PRINTED, scale=partial(update_loss_scale, growth_interval=2000)),
        replace(PRINTED, scale=scale_from_16),
    ],
}


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda theorem: theorem.__name__)
def test_holds_for_the_printed_rules(theorem):
    theorem(PRINTED)


@pytest.mark.parametrize(
    ("theorem", "altered"),
    [
        pytest.param(theorem, altered, id=f"{theorem.__name__}-{i}")
        for theorem, alterations in THEOREMS.items()
        for i, altered in enumerate(alterations)
    ],
)
def test_fails_for_an_altered_rule(theorem, altered):
    with pytest.raises(AssertionError):
        theorem(altered)


def test_every_pathology_has_a_theorem():
    assert {theorem.__name__.split("_")[0] for theorem in THEOREMS} == {f"z{i}" for i in range(1, 11)}


def test_with_an_interval_of_2000_one_step_in_2001_overflows():
    path = simulate.overflow_path(20_020, 1000.0, growth_interval=2000)
    overflows = [t for t, overflow in enumerate(path) if overflow]
    assert overflows[:7] == list(range(7))  # from 65,536 down to 1,024; then 512 is fine
    assert {b - a for a, b in pairwise(overflows[6:])} == {2001}


def test_adam_takes_larger_steps_while_the_clipped_gradient_climbs():
    sizes = simulate.adam_step_sizes(8000)
    assert [sizes[t] for t in (49, 99, 120)] == pytest.approx([1.61, 2.24, 2.45], abs=0.005)
    assert sizes[-1] == pytest.approx(simulate.adam_step_limit(), rel=1e-3)
    assert simulate.adam_step_limit() == pytest.approx(7.26, abs=0.01)
    assert simulate.adam_step_sizes(100, growth=1.0) == pytest.approx([1.0] * 100)


def test_simulated_adam_steps_are_torchs():
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1.0, eps=0.0)
    for t, size in enumerate(simulate.adam_step_sizes(60)):
        before = weight.item()
        weight.grad = torch.tensor(1.1**t, dtype=torch.float64)
        optimizer.step()
        assert before - weight.item() == pytest.approx(size, rel=1e-9)
