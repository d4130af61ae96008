"""What every figure has in common: a panel without runs says so, and learning rates are labelled to be read."""

import numpy as np
import pytest

from regrad.report.style import canvas, rate_axis, say_where_empty
from regrad.report.tables import NOT_RUN


def band(axis):
    axis.axhspan(-1, 1)
    axis.axhline(0)
    axis.plot([], [], label="an arm")


DRAWN = {
    "a line": lambda axis: axis.plot([1, 2], [3, 4]),
    "dots": lambda axis: axis.scatter([1], [2]),
    "bars": lambda axis: axis.bar([0], [1]),
    "an image": lambda axis: axis.imshow(np.eye(2)),
}
EMPTY = {
    "nothing": lambda axis: None,
    "reference lines": band,
    "bars without a height": lambda axis: axis.bar([0], [np.nan]),
    "dots nowhere": lambda axis: axis.scatter([], []),
    "an image without a number": lambda axis: axis.imshow(np.full((2, 2), np.nan)),
}


@pytest.mark.parametrize("what", [*DRAWN, *EMPTY])
def test_a_panel_without_runs_says_so(what):
    with canvas(ncols=2) as (figure, (axis, beside)):
        (DRAWN | EMPTY)[what](axis)
        beside.plot([1, 2], [3, 4])
    say_where_empty(figure)
    assert (NOT_RUN in [text.get_text() for text in axis.texts]) == (what in EMPTY)


@pytest.mark.parametrize("what", EMPTY)
def test_of_a_figure_whose_panels_all_are_without_runs_a_line_of_words_is_left(what):
    with canvas(ncols=2) as (figure, axes):
        EMPTY[what](axes[0])
    say_where_empty(figure)
    assert figure.axes == []
    assert figure.get_figheight() < 0.5
    assert [text.get_text().startswith(NOT_RUN) for text in figure.texts] == [True]


@pytest.mark.parametrize(
    ("rates", "labels"),
    [
        ((0.002, 0.02), ["0.002", "0.005", "0.01", "0.02"]),
        ((1e-5, 1e-1), ["$10^{-5}$", "0.001", "0.1"]),
    ],
)
def test_learning_rates_are_labelled_so_that_they_fit(rates, labels):
    with canvas(width=2.2) as (figure, axis):
        axis.plot(rates, [1, 2])
        rate_axis(axis)
        figure.draw_without_rendering()
    low, high = axis.get_xlim()
    shown = [
        t.get_text() for t in axis.get_xticklabels(which="both") if t.get_text() and low <= t.get_position()[0] <= high
    ]
    assert shown == labels
