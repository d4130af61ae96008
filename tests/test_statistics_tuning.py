import math

import numpy as np
import pytest

from regrad.statistics.curves import lr_width, performance_profile, steps_to_target
from regrad.statistics.tuning import choose


def runs(arm, table):
    """One row a value; a value of None is a diverged run."""
    return [
        {"arm": arm, "lr": lr, "seed": seed, "value": value, "diverged": value is None}
        for lr, values in table.items()
        for seed, value in enumerate(values)
    ]


def test_each_arm_gets_its_own_interior_optimum():
    rows = runs("a", {0.1: [3, 3], 0.2: [1, 2], 0.4: [2, 2]}) + runs("b", {1.0: [5], 2.0: [4], 4.0: [6]})
    choices = choose(rows)
    assert {arm: c.best for arm, c in choices.items()} == {"a": 0.2, "b": 2.0}
    assert choices["a"].edge is None
    assert choices["a"].extension == ()
    assert choices["a"].means == {0.1: 3, 0.2: 1.5, 0.4: 2}
    assert (choices["a"].trials, choices["b"].trials) == (6, 3)
    assert choices["b"].decades == pytest.approx(math.log10(4))


def test_an_optimum_on_the_edge_extends_the_grid_by_its_own_ratio():
    high = choose(runs("a", {0.1: [3], 0.2: [2], 0.4: [1]}))["a"]
    assert (high.edge, high.extension) == ("high", (0.8, 1.6))
    low = choose(runs("a", {0.1: [1], 0.2: [2], 0.4: [3]}), extend_by=1)["a"]
    assert (low.edge, low.extension) == ("low", (0.05,))


def test_extending_until_interior_finds_the_optimum_of_a_bowl():
    grid = {0.01: None, 0.02: None, 0.04: None}
    while True:
        choice = choose(runs("a", {lr: [math.log(lr / 0.5) ** 2] for lr in grid}))["a"]
        if choice.edge is None:
            break
        grid |= dict.fromkeys(choice.extension)
    assert choice.best == pytest.approx(0.64)


def test_a_diverged_run_is_worst_and_never_a_number_in_a_mean():
    # At 0.4 one of two seeds diverged; the other's 0.1 would win if the diverged one were dropped.
    choice = choose(runs("a", {0.1: [2, 2], 0.2: [1, 1], 0.4: [0.1, None]}))["a"]
    assert choice.best == 0.2
    assert choice.edge is None
    assert choice.means[0.4] == math.inf
    assert choice.diverged == {0.1: 0, 0.2: 0, 0.4: 1}


def test_a_diverged_run_that_left_a_number_is_diverged_all_the_same():
    rows = runs("a", {0.1: [2], 0.2: [1], 0.4: [0.5]})
    rows[2]["diverged"] = True
    assert choose(rows)["a"].best == 0.2


def test_a_value_that_is_not_finite_counts_as_diverged():
    rows = [
        {"arm": "a", "lr": lr, "seed": 0, "value": value}
        for lr, value in [(1.0, math.nan), (2.0, 5.0), (4.0, -math.inf)]
    ]
    assert choose(rows)["a"].best == 2.0


def test_an_arm_that_always_diverged_has_no_best_and_extends_downward():
    choice = choose(runs("a", {0.1: [None], 0.2: [None]}))["a"]
    assert (choice.best, choice.edge, choice.extension) == (None, "low", (0.025, 0.05))


def test_a_grid_of_one_point_extends_both_ways():
    choice = choose(runs("a", {0.3: [1]}), extend_by=1, ratio=3)["a"]
    assert (choice.edge, choice.extension) == ("both", (0.1, 0.9))


def test_of_equal_values_the_lower_learning_rate_wins():
    assert choose(runs("a", {0.4: [1], 0.2: [1], 0.1: [2]}))["a"].best == 0.2


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (runs("a", {0.1: [1, 2], 0.2: [1]}), r"a: lr 0.2 has seeds \[0\]; allowed: \[0, 1\]"),
        (runs("a", {0.1: [1]}) * 2, "each run once"),
        (runs("a", {-0.1: [1]}), "positive finite lr"),
        (runs("a", {math.nan: [1]}), "positive finite lr"),
    ],
)
def test_tuning_rows_that_cannot_be_compared_are_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        choose(rows)


def test_steps_to_target_is_where_the_curve_crosses_and_a_miss_is_infinite():
    steps, values = [10, 20, 30, 40], [3.0, 2.0, 2.5, 1.0]
    assert steps_to_target(steps, values, 2.0) == 20
    assert steps_to_target(steps, values, 1.5) == pytest.approx(30 + 10 * 2 / 3)  # a line from 2.5 to 1.0
    assert steps_to_target(steps, values, 3.5) == 10, "it starts there"
    assert steps_to_target(steps, values, 0.5) == math.inf
    assert steps_to_target([], [], 1.0) == math.inf
    assert steps_to_target([1, 2], [math.nan, 1.0], 1.0) == 2
    with pytest.raises(ValueError, match="equal lengths"):
        steps_to_target([1], [], 1.0)


def test_performance_profile_by_hand_counts_misses():
    # Ratios to the best: a = 1, 2, miss, miss; b = 1.5, 1, 1, miss (task 4 is solved by nobody).
    times = {
        "a": {"t1": 10, "t2": 40, "t3": math.inf, "t4": math.inf},
        "b": {"t1": 15, "t2": 20, "t3": 7, "t4": math.inf},
    }
    profile = performance_profile(times, [1, 1.5, 2, 1e9])
    assert profile["a"].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert profile["b"].tolist() == [0.5, 0.75, 0.75, 0.75]


def test_performance_profile_refuses_unequal_tasks_and_times_of_zero():
    with pytest.raises(ValueError, match="arm 'b' lacks"):
        performance_profile({"a": {"t": 1}, "b": {}}, [1])
    with pytest.raises(ValueError, match="not positive"):
        performance_profile({"a": {"t": 0.0}}, [1])


def test_width_interpolates_the_crossing_in_log_learning_rate():
    # Best 1.0 at 1e-2, tolerance 0.5: to the left the value rises by 1 over one decade, so it crosses half a
    # decade away; to the right by 2, so a quarter of a decade.
    width = lr_width([1e-3, 1e-2, 1e-1], [2.0, 1.0, 3.0], 0.5)
    assert width.decades == pytest.approx(0.75)
    assert not width.censored


def test_width_ends_at_the_last_good_point_before_a_diverged_one():
    width = lr_width([1e-1, 1e-2, 1e-3], [math.inf, 1.0, 2.0], 0.5)
    assert width.decades == pytest.approx(0.5)
    assert not width.censored


def test_width_stops_at_the_first_crossing_and_says_when_the_grid_ends_first():
    width = lr_width([1e-3, 1e-2, 1e-1, 1], [1.2, 1.0, math.inf, 1.0], 0.5)
    assert width.decades == pytest.approx(1.0)
    assert width.censored


@pytest.mark.parametrize(
    ("lrs", "values"), [([1, 1], [1, 2]), ([0, 1], [1, 2]), ([1, 2], [math.nan, 1]), ([1], [math.inf])]
)
def test_width_refuses_grids_without_meaning(lrs, values):
    with pytest.raises(ValueError, match="distinct positive"):
        lr_width(lrs, np.array(values, dtype=float), 0.1)


def test_among_rates_within_the_noise_the_smaller_is_chosen():
    # Paired differences of 2.0 to 4.0: -0.1 and 0.3, mean 0.1, standard error 0.2.
    table = {0.5: [3, 3], 1.0: [2, 2.1], 2.0: [1.0, 1.2], 4.0: [1.1, 0.9], 8.0: [2, 2]}
    choice = choose(runs("a", table))["a"]
    assert (choice.best, choice.edge) == (2.0, None)
    # The same means without noise between them, and one seed alone: the lowest is chosen.
    for sure in ({lr: [sum(values) / 2] * 2 for lr, values in table.items()}, {2.0: [1.1], 4.0: [1.0], 8.0: [2]}):
        assert choose(runs("a", sure))["a"].best == 4.0


def test_noise_is_that_of_the_two_rates_compared():
    # At 4.0 the seeds differ much; 1.0 is worse than 2.0 at both all the same.
    assert choose(runs("a", {0.5: [4, 4], 1.0: [1.3, 1.2], 2.0: [1.0, 1.0], 4.0: [0.2, 2.0]}))["a"].best == 2.0


def test_a_grid_does_not_grow_for_a_gain_below_the_noise():
    high = choose(runs("a", {1.0: [2, 2], 2.0: [1.0, 1.2], 4.0: [1.1, 1.0]}))["a"]
    assert (high.best, high.edge, high.extension) == (2.0, None, ())
    low = choose(runs("a", {1.0: [1.1, 1.0], 2.0: [1.0, 1.2], 4.0: [2, 2]}))["a"]
    assert (low.best, low.edge) == (2.0, None)
    clear = choose(runs("a", {1.0: [3, 3], 2.0: [2.0, 2.1], 4.0: [1.1, 1.0]}))["a"]
    assert (clear.best, clear.edge) == (4.0, "high")


def test_the_smaller_rate_within_the_noise_is_never_the_first():
    table = {1.0: [1.1, 1.0], 2.0: [1.0, 1.2], 4.0: [1.15, 1.0], 8.0: [2, 2]}
    assert choose(runs("a", table))["a"].best == 2.0


def test_a_rate_at_which_a_run_diverged_is_no_smaller_choice():
    assert choose(runs("a", {0.5: [3, 3], 1.0: [1, None], 2.0: [1.1, 0.9], 4.0: [2, 2]}))["a"].best == 2.0
