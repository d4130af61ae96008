"""Marks and texts that several studies share, worked out by hand."""

import math

import pytest
from matplotlib.figure import Figure

from regrad.report.marks import draw_interval, draw_range, error_bar, parameter_label
from regrad.report.tables import interval_text, typical
from regrad.statistics.intervals import Interval, paired_interval

SINGLE = paired_interval([2.0])
AROUND = Interval(estimate=2.0, low=1.5, high=3.0, n=5, level=0.95, deviation=0.6)


def test_an_error_bar_is_two_distances_and_a_single_seed_has_none():
    assert error_bar(AROUND) == [[0.5], [1.0]]
    assert error_bar(SINGLE) is None


def test_an_interval_is_drawn_upright_and_a_single_seed_as_a_point():
    axis = Figure().subplots()
    for interval in (AROUND, SINGLE):
        draw_interval(axis, 7, interval, {"marker": "D", "color": "#0072B2", "label": "Adam"})
    with_bar, alone = axis.containers
    assert with_bar.lines[0].get_xydata().tolist() == [[7, 2]]
    assert with_bar.lines[2][0].get_segments()[0].tolist() == [[7, 1.5], [7, 3]]
    assert with_bar.lines[0].get_marker() == "D"
    assert not alone.has_yerr


def test_a_range_reaches_from_the_lowest_to_the_highest_seed():
    axis = Figure().subplots()
    draw_range(axis, [0, 1], [[3, 1, 2], [5, 4]], color="#000000", alpha=0.2)
    corners = {tuple(point) for point in axis.collections[0].get_paths()[0].vertices.tolist()}
    assert corners == {(0, 1), (0, 3), (1, 4), (1, 5)}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("blocks.0.attention.query.weight", "0 attn query"),
        ("blocks.3.feedforward.up.weight", "3 ff up"),
        ("final_norm.weight", "final norm"),
    ],
)
def test_a_parameter_s_name_is_short_enough_for_a_figure(name, label):
    assert parameter_label(name) == label


def test_a_missing_interval_is_said_in_words():
    assert interval_text(AROUND, digits=1) == "2.0 [1.5, 3.0]"
    assert interval_text(SINGLE, digits=2) == "2.00"
    assert interval_text(None, "diverged") == "diverged"


def test_a_miss_is_counted_and_never_averaged():
    assert typical([4.0, 16.0]) == "8.00"
    assert typical([0.0, 16.0]) == "0"
    assert typical([4.0, 16.0, math.inf]) == "8.00 (1 missed)"
    assert typical([math.inf]).strip() == "(1 missed)"
