"""The protocol's machinery against published numbers, worked examples and simulation."""

import math

import numpy as np
import pytest
from scipy import special, stats

from regrad.statistics.bootstrap import resampling_weights, stratified_interval
from regrad.statistics.curves import performance_profile, steps_to_target
from regrad.statistics.intervals import holm, paired_interval, paired_p
from regrad.statistics.power import detectable_effect, needed_n
from regrad.statistics.tuning import choose

# Student 1908, "The probable error of a mean": additional hours of sleep by two drugs, ten patients.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP = np.subtract(SECOND, FIRST)


def test_students_sleep_data_give_the_interval_and_p_that_every_textbook_prints():
    # R's documentation of t.test: mean of the differences 1.58, interval 0.7001142 to 2.4598858, p = 0.002833.
    interval = paired_interval(SLEEP)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((1.58, 0.7001142, 2.4598858), abs=1e-7)
    assert paired_p(SLEEP) == pytest.approx(0.002833, abs=5e-7)


def test_holms_published_example():
    # Holm 1979 by hand: .005, .01, .03, .04 times 4, 3, 2, 1 = .02, .03, .06, .04 -> running maximum .06.
    adjusted = holm({"a": 0.005, "b": 0.01, "c": 0.03, "d": 0.04})
    assert list(adjusted.values()) == pytest.approx([0.02, 0.03, 0.06, 0.06])


def test_the_sleep_data_against_a_margin_by_hand():
    # Mean 1.58, standard error 1.229995 / sqrt 10 = .388959. Against 3: t = 1.42 / .388959 = 3.65076 with 9
    # degrees of freedom: 0.0026538.
    expected = stats.t.sf((3 - 1.58) / (SLEEP.std(ddof=1) / math.sqrt(10)), 9)
    assert paired_p(SLEEP, 3.0, "less") == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(0.00265, abs=1e-4)


def test_a_margin_is_wrongly_ruled_out_in_5_percent_where_the_truth_lies_on_it():
    draws = np.random.default_rng(5).normal(loc=2.0, size=(10_000, 5))
    # Vectorized: p < .05 if and only if the 90 % interval lies below the margin (tested beside it).
    half = special.stdtrit(4, 0.95) * draws.std(axis=1, ddof=1) / math.sqrt(5)
    called = draws.mean(axis=1) + half < 2.0
    assert 0.044 < called.mean() < 0.056
    assert [paired_p(d, 2.0, "less") < 0.05 for d in draws[:200]] == called[:200].tolist()


def test_t_intervals_cover_in_94_percent_of_10000_draws_at_every_n_that_we_use():
    generator = np.random.default_rng(6)
    for n in (3, 5, 8, 10):
        draws = generator.normal(loc=-0.7, scale=3.0, size=(10_000, n))
        half = special.stdtrit(n - 1, 0.975) * draws.std(axis=1, ddof=1) / math.sqrt(n)
        covered = np.abs(draws.mean(axis=1) + 0.7) <= half
        assert 0.94 <= covered.mean() <= 0.96, n
        one = paired_interval(draws[0])
        assert one.high - one.estimate == pytest.approx(half[0], rel=1e-12)


@pytest.mark.parametrize(("effect", "published"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_needed_n_equals_the_published_tables(effect, published):
    # Cohen's small, medium and large effects, paired t-test, 80 % power, two-sided 5 % (G*Power prints the same).
    assert needed_n(effect) == published


def test_what_could_have_been_seen_falls_like_one_over_root_n():
    # Normal approximation: 1.959964 + 0.841621 = 2.801585 standard errors.
    assert detectable_effect(1_000) == pytest.approx(2.801585 / math.sqrt(1_000), rel=2e-3)


# -- aggregates over tasks and seeds


def test_the_aggregate_weighs_tasks_alike_by_hand():
    # Means 1 and 4 of 2 and 4 seeds: 2.5, not the 3 of all values pooled.
    interval = stratified_interval({"a": [0.0, 2.0], "b": [4.0, 4.0, 4.0, 4.0]})
    assert interval.estimate == pytest.approx(2.5)
    assert interval.n == 6
    # Only task a varies: resamples of its mean are 0, 1, 2, stretched by sqrt 2, half of each in the aggregate.
    assert (interval.low, interval.high) == pytest.approx((2.5 - math.sqrt(2) / 2, 2.5 + math.sqrt(2) / 2))
    assert stratified_interval({"a": [1.0, 1.0]}).low == pytest.approx(1.0)


def test_resamples_stay_within_their_task_and_have_the_right_variance():
    weights = resampling_weights((3, 5), resamples=40_000)
    assert weights[:, :3].sum(axis=1) == pytest.approx(0.5)
    assert weights.sum(axis=1) == pytest.approx(1)
    values = np.array([1.0, 2.0, 6.0, 0.0, 1.0, 1.0, 3.0, 5.0])
    # Variance of the aggregate: (s_a^2 / 3 + s_b^2 / 5) / 4 = (7 / 3 + 4 / 5) / 4.
    assert (weights @ values).var() == pytest.approx((7 / 3 + 4 / 5) / 4, rel=0.03)


def test_the_stratified_interval_covers_in_94_percent_of_10000_draws():
    # Four tasks of unequal spread with the five seeds that our studies have.
    scales = np.array([0.3, 1.0, 2.0, 3.0])[:, None]
    draws = np.random.default_rng(7).normal(loc=0.4, scale=scales, size=(10_000, 4, 5))
    intervals = [stratified_interval(dict(enumerate(draw)), resamples=1_000) for draw in draws]
    assert 0.94 <= np.mean([i.low <= 0.4 <= i.high for i in intervals]) <= 0.97


def test_equal_arguments_give_equal_intervals_and_other_seeds_others():
    data = {"a": [0.1, 0.5, 0.2], "b": [1.0, 2.0, 0.0]}
    assert stratified_interval(data) == stratified_interval(data)
    assert stratified_interval(data) != stratified_interval(data, seed=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stratified_interval({}), "at least 2 seeds a task"),
        (lambda: stratified_interval({"a": [1.0]}), "at least 2 seeds a task"),
        (lambda: stratified_interval({"a": [1.0, math.inf]}), "differences: inf"),
        (lambda: stratified_interval({"a": [1.0, 2.0]}, level=0.0), "level: 0.0"),
    ],
)
def test_an_aggregate_of_too_little_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


# -- time to target, profiles, tuning


def test_times_to_target_feed_a_profile_in_which_a_miss_is_never_fast():
    curves = {"fast": [3.0, 1.0, 0.5], "slow": [3.0, 2.0, 0.9], "never": [3.0, 2.5, 2.0]}
    times = {arm: {"t": steps_to_target([1, 2, 4], values, 1.0)} for arm, values in curves.items()}
    assert [row["t"] for row in times.values()] == [2, pytest.approx(2 + 2 / 1.1), math.inf]
    profile = performance_profile(times, [1, 2, 1e12])
    assert {arm: shares.tolist() for arm, shares in profile.items()} == {
        "fast": [1, 1, 1], "slow": [0, 1, 1], "never": [0, 0, 0],
    }  # fmt: skip


def test_a_profile_is_a_distribution_function_and_its_first_value_counts_wins():
    # Dolan and More 2002: rho(1) is the share of wins, rho is monotone, its limit the share solved.
    times = np.random.default_rng(8).exponential(size=(3, 50)) + 0.1
    times[0, ::5] = math.inf
    named = {arm: {str(k): t for k, t in enumerate(row)} for arm, row in zip("abc", times, strict=True)}
    profile = performance_profile(named, [1, 2, 4, 1e9])
    wins = np.bincount(times.argmin(axis=0), minlength=3) / 50
    for k, arm in enumerate("abc"):
        assert profile[arm][0] == pytest.approx(wins[k])
        assert (np.diff(profile[arm]) >= 0).all()
        assert profile[arm][-1] == pytest.approx(np.isfinite(times[k]).mean())


def test_equal_tuning_extends_each_arm_until_its_optimum_is_inside():
    bowls = {"base": 0.003, "new": 0.8}
    grids = {arm: [0.05, 0.1, 0.2] for arm in bowls}
    for _ in range(10):
        rows = [
            {"arm": arm, "lr": lr, "seed": s, "value": math.log(lr / bowls[arm]) ** 2, "diverged": False}
            for arm, grid in grids.items() for lr in grid for s in (0, 1)
        ]  # fmt: skip
        choices = choose(rows)
        grids = {arm: sorted([*grid, *choices[arm].extension]) for arm, grid in grids.items()}
        if all(c.edge is None for c in choices.values()):
            break
    assert {arm: c.best for arm, c in choices.items()} == {"base": pytest.approx(0.003125), "new": pytest.approx(0.8)}
