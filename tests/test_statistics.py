import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regrad.statistics.intervals import holm, holm_levels, paired_interval, paired_p
from regrad.statistics.pairs import fewest_pairs, pair_gains, rank_p
from regrad.statistics.power import detectable_effect, needed_n


def test_interval_of_five_differences_by_hand():
    # Mean 3; squared deviations 4+1+0+1+4 = 10, variance 10/4 = 2.5, standard error sqrt(2.5/5) = 0.70711;
    # t(.975, 4) = 2.776445 (any t table), half width 1.96324.
    interval = paired_interval([1, 2, 3, 4, 5])
    assert interval.estimate == 3
    assert interval.low == pytest.approx(3 - 1.96324, abs=1e-5)
    assert interval.high == pytest.approx(3 + 1.96324, abs=1e-5)
    assert interval.deviation == pytest.approx(math.sqrt(2.5))


def test_interval_equals_scipys_for_any_level():
    d = np.random.default_rng(0).normal(size=7)
    expected = stats.ttest_1samp(d, 0).confidence_interval(0.9)
    got = paired_interval(d, level=0.9)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_interval_covers_the_mean_in_94_percent_of_10000_draws():
    draws = np.random.default_rng(1).normal(loc=0.3, size=(10_000, 5))
    intervals = [paired_interval(d) for d in draws]
    coverage = np.mean([i.low <= 0.3 <= i.high for i in intervals])
    assert 0.94 <= coverage <= 0.96


def test_paired_test_errs_in_5_percent_of_draws_under_the_null():
    draws = np.random.default_rng(2).normal(size=(4_000, 5))
    assert np.mean([paired_p(d) < 0.05 for d in draws]) == pytest.approx(0.05, abs=0.01)


def test_one_difference_has_an_unbounded_interval_and_p_one():
    interval = paired_interval([0.4])
    assert (interval.estimate, interval.low, interval.high) == (0.4, -math.inf, math.inf)
    assert paired_p([0.4]) == paired_p([0.0], 1.0, "less") == 1


def test_equal_differences_give_width_zero_and_the_sign_tests_p():
    # 0.1 three times has a standard deviation of rounding size; it must not give a p-value of 1e-16.
    interval = paired_interval([0.1, 0.1, 0.1])
    assert interval.low == interval.high == pytest.approx(0.1)
    assert paired_p([0.1] * 5) == pytest.approx(2 / 2**5)
    assert paired_p([-0.1] * 5, alternative="less") == pytest.approx(1 / 2**5)
    assert paired_p([0.0] * 5) == 1


def test_paired_p_equals_scipys_two_sample_form():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 6))
    assert paired_p(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-12)
    assert paired_p(a - b, 0.5, "greater") == pytest.approx(
        stats.ttest_1samp(a - b, 0.5, alternative="greater").pvalue, rel=1e-9
    )


def test_holm_by_hand():
    # Sorted .01, .03, .04 times 3, 2, 1 = .03, .06, .04; the running maximum makes the last .06.
    assert holm({"a": 0.04, "b": 0.01, "c": None, "d": 0.03}) == {
        "a": pytest.approx(0.06),
        "b": pytest.approx(0.03),
        "c": None,
        "d": pytest.approx(0.06),
    }
    assert holm({"a": None}) == {"a": None}


@pytest.mark.parametrize("seed", range(20))
def test_below_a_margin_at_5_percent_is_the_90_percent_interval_below_it(seed):
    d = np.random.default_rng(seed).normal(loc=0.2, scale=0.5, size=6)
    assert (paired_p(d, 0.5, "less") < 0.05) == (paired_interval(d, level=0.9).high < 0.5)


def test_equal_differences_on_a_margin_are_not_below_it_and_others_by_the_sign_test():
    assert paired_p([0.1] * 5, 0.1, "less") == 1
    assert paired_p([0.0] * 5, 0.1, "less") == pytest.approx(1 / 2**5)


@pytest.mark.parametrize(("n", "published"), [(3, 3.3), (5, 1.7), (10, 1.0)])
def test_detectable_effect_matches_published_values(n, published):
    assert detectable_effect(n) == pytest.approx(published, abs=0.05)


def test_detectable_effect_is_seen_in_80_percent_of_simulated_studies():
    draws = np.random.default_rng(4).normal(loc=detectable_effect(5), size=(4_000, 5))
    seen = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert seen.mean() == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 33])
def test_needed_n_inverts_detectable_effect(n):
    assert needed_n(detectable_effect(n)) == n
    assert needed_n(-detectable_effect(n) * 0.999) == n + 1


def test_detectable_effect_falls_with_every_further_seed():
    effects = [detectable_effect(n) for n in range(2, 200)]
    assert all(first > second > 0 for first, second in itertools.pairwise(effects))


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.05, 0.005, 0.001])
def test_what_is_seen_with_a_high_power_at_a_small_level(n, alpha):
    effect = detectable_effect(n, 0.99, alpha)
    assert math.isfinite(effect)
    assert effect > detectable_effect(n, 0.8, alpha) > 0


def test_needed_n_at_the_ends():
    # Cohen's textbook value for d = .5 in a paired test at 80 % power is 34.
    assert needed_n(0.5) == 34
    assert needed_n(math.inf) == needed_n(50.0) == 2
    assert needed_n(0.0) is needed_n(math.nan) is None
    assert detectable_effect(1) == math.inf


def test_pairs_set_diverged_runs_apart_and_order_them():
    # Lower is claimed: gains are control - treatment = .5, -1, +inf, -inf, and inf - inf is neither.
    pairs = pair_gains([1.0, 3.0, 1.0, math.inf, math.inf], [1.5, 2.0, math.inf, 1.0, math.inf])
    assert pairs.finite.tolist() == [0.5, -1.0]
    assert (pairs.favourable, pairs.unfavourable, pairs.both, pairs.seeds) == (1, 1, 1, 5)
    assert pairs.gains.tolist() == [0.5, -1.0, math.inf, -math.inf, 0.0]


def test_direction_higher_turns_the_gains_around():
    pairs = pair_gains([2.0, -math.inf], [1.0, 1.0], "higher")
    assert pairs.finite.tolist() == [1.0]
    assert pairs.unfavourable == 1


def test_the_rank_test_orders_infinities_by_hand():
    # Five losses of five: 1 of 2^5 signs is as extreme, so 1/32 on one side; twice that is above 5 %, with six below.
    assert rank_p([-math.inf] * 5, "less") == 1 / 32
    assert rank_p([-math.inf] * 5) == 2 / 32
    assert rank_p([-math.inf] * 6) == 2 / 64
    # A gain of 1 among four infinite losses has rank 1: of 32 sums only all-negative and this one are as low.
    assert rank_p([1.0, *[-math.inf] * 4], "less") == 2 / 32
    assert rank_p([-1.0, -2.0, -3.0, -4.0, math.inf], "less") == 10 / 32  # sums of at least 10 of 1..5, turned round
    assert rank_p([0.0], "less") == rank_p([0.0], "greater") == rank_p([]) == 1


def test_the_rank_test_is_wilcoxons_where_no_size_is_there_twice():
    gains = np.random.default_rng(3).normal(0.4, 1, 9)
    for side in ("two-sided", "less", "greater"):
        assert rank_p(gains, side) == pytest.approx(stats.wilcoxon(gains, alternative=side, method="exact").pvalue)
    assert rank_p(gains, "less", -0.5) == rank_p(gains + 0.5, "less")


def test_the_rank_p_never_rises_when_a_gain_moves_its_way():
    # Every set of up to five of these gains, and every step of one gain to the next one down.
    ladder = [-math.inf, -2.0, -1.0, 0.0, 1.0, 2.0, math.inf]
    for n in range(1, 6):
        sets = list(itertools.combinations_with_replacement(range(len(ladder)), n))
        p = {one: rank_p([ladder[k] for k in one], "less") for one in sets}
        for one, (place, k) in itertools.product(sets, enumerate(range(n))):
            if one[k] > 0:
                lower = tuple(sorted((*one[:place], one[k] - 1, *one[place + 1 :])))
                assert p[lower] <= p[one], (one, lower)


def test_the_fewest_pairs_of_the_rank_test():
    for alpha in (0.05, 0.0475, 0.0051):
        n = fewest_pairs(alpha)
        assert rank_p([math.inf] * n) < alpha <= rank_p([math.inf] * (n - 1))


def test_holms_levels_are_those_that_its_steps_tested_at():
    # .001 at .05/4 and .015 at .05/3 reject; .03 at .05/2 does not, and ends it.
    levels = holm_levels({"d": 0.9, "b": 0.015, "a": 0.001, "c": 0.03})
    assert levels == {"a": 0.05 / 4, "b": 0.05 / 3, "c": 0.05 / 2, "d": 0.05 / 2}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_an_interval_at_holms_level_agrees_with_holms_p(values):
    p_values = {str(k): p for k, p in enumerate(values)}
    adjusted, levels = holm(p_values), holm_levels(p_values)
    # At the threshold itself rounding may part them.
    sharp = [name for name, p in adjusted.items() if abs(p - 0.05) > 1e-9]
    assert all((p_values[name] < levels[name]) == (adjusted[name] < 0.05) for name in sharp)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_interval([]), "at least one number"),
        (lambda: paired_interval([1.0, math.inf]), "differences: inf; allowed: finite"),
        (lambda: paired_p([math.nan, 1.0]), "differences: nan"),
        (lambda: paired_interval([[1.0]]), "a vector"),
        (lambda: paired_interval([1.0], level=1.0), "level: 1.0; allowed: 0 < level < 1"),
        (lambda: pair_gains([1.0], []), "1 and 0 values"),
        (lambda: pair_gains([], [], "down"), "direction: 'down'"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")) as caught:
        call()
    assert "\n" not in str(caught.value)
