"""Figures of the sign study by what they show, from records made by hand."""

import pytest

from regrad.report.export import rendered
from regrad.studies.sign_placement import figures
from regrad.studies.sign_placement.arms import ARMS
from sign_records import CASES, LAYERS, LOSS, study_records

EMA = "sign of the moving average"
DRAW = (figures.fig_learning_rates, figures.fig_curves, figures.fig_dose, figures.fig_noise)


def lines(axis):
    """The labelled lines of an axis as lists of points."""
    return {line.get_label(): line.get_xydata().tolist() for line in axis.lines if line.get_label()[0] != "_"}


def estimates(axis):
    """Where the estimates with error bars stand."""
    return [bar[0].get_xydata()[0].tolist() for bar in axis.containers]


def contents(figure):
    """What a reader sees of a figure, without its layout."""
    drawn = [legend.get_text() for key in figure.legends for legend in key.get_texts()]
    for axis in figure.axes:
        drawn += [line.get_xydata().tolist() for line in axis.lines]
        drawn += [sorted(points.get_offsets().tolist()) for points in axis.collections]
        drawn += [text.get_text() for text in (*axis.get_xticklabels(), *axis.get_yticklabels())]
        drawn += [axis.get_xlim(), axis.get_ylim(), axis.get_xlabel(), axis.get_ylabel()]
    return repr(drawn)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("draw", DRAW)
def test_every_figure_is_drawn_whatever_diverged_or_is_missing(draw, case):
    assert draw(study_records(**CASES[case])).axes


@pytest.mark.parametrize("case", ["whole", "all diverged"])
@pytest.mark.parametrize("draw", DRAW)
def test_figures_can_be_written(draw, case):
    assert len(rendered(draw(study_records(**CASES[case])), "png", {"Software": None})) > 1000


def test_drawing_reads_records_and_changes_none():
    records = study_records()
    before = [r.model_dump_json() for r in records]
    for draw in DRAW:
        draw(records)
    assert [r.model_dump_json() for r in records] == before


def test_the_order_of_the_records_and_what_was_drawn_before_change_nothing():
    records = study_records()
    first = [contents(draw(records)) for draw in DRAW]
    assert [contents(draw(records[::-1])) for draw in DRAW] == first


def test_the_figure_of_learning_rates_by_hand():
    """A notch from the best rate costs 0.1; a ring marks the best."""
    (axis,) = figures.fig_learning_rates(study_records()).axes
    assert lines(axis)[EMA] == [[0.001, pytest.approx(2.1)], [0.002, 2.0], [0.004, pytest.approx(2.1)]]
    assert [0.002, 2.0] in [line.get_xydata().tolist()[0] for line in axis.lines if len(line.get_xydata()) == 1]
    assert list(lines(axis)) == [ARMS[arm].label for arm in LOSS]
    assert [0.004, pytest.approx(2.1)] in axis.collections[-1].get_offsets().tolist()  # a dot a run


@pytest.mark.parametrize("draw", [figures.fig_learning_rates, figures.fig_curves])
def test_an_arm_without_a_line_has_no_label(draw):
    (axis,) = draw(study_records(diverged=("example",))).axes
    assert list(lines(axis)) == [ARMS[arm].label for arm in ("group-4", "batch", "ema")]


def test_the_figure_of_curves_by_hand():
    """Lines are means over seeds 0 to 2; the axis holds the losses from the second evaluation on: 3.0 down to 2.0."""
    (axis,) = figures.fig_curves(study_records()).axes
    assert lines(axis)[EMA] == [[0.0, 5.5], [5.0, 4.0], [15.0, 3.0], [25.0, pytest.approx(2.01)]]
    assert axis.get_ylim() == pytest.approx((2.0 - 0.03, 3.0))
    band = axis.collections[-1].get_paths()[0].vertices
    assert sorted({y for x, y in band.tolist() if x == 25.0}) == pytest.approx([2.0, 2.02])


def test_a_diverged_run_is_in_no_line_and_not_in_the_limits():
    records = [r for r in study_records(diverged=("ema/2",)) if r.spec.tags["arm"] == "ema"]
    (axis,) = figures.fig_curves(records).axes
    assert lines(axis)[EMA][-1] == [25.0, pytest.approx(2.005)]
    assert axis.get_ylim()[1] == 3.0


def test_the_figure_of_doses_by_hand():
    losses, gaps = figures.fig_dose(study_records()).axes
    assert estimates(losses) == [[place, pytest.approx(loss)] for place, loss in enumerate((2.41, 2.31, 2.21, 2.01))]
    assert estimates(gaps) == [[place, pytest.approx(gap)] for place, gap in enumerate((0.4, 0.3, 0.2))]
    assert [text.get_text() for text in losses.get_xticklabels()] == ["1", "4", "16", "EMA"]


def test_the_figure_of_noise_by_hand():
    """Of a layer's two checkpoints, 4 and 4 + 0.01 times its place, the median is the mean."""
    snr, kurtosis, agreement, shares = figures.fig_noise(study_records()).axes
    assert estimates(kurtosis) == [[pytest.approx(4 + 0.005 * place), place] for place in range(len(LAYERS))]
    assert estimates(snr)[0] == [0.1, 0]
    assert estimates(agreement)[0] == [0.9, 0]
    assert [text.get_text() for text in snr.get_yticklabels()] == ["embedding", "0 attn query", "norm"]
    assert snr.get_ylim() == (2.5, -0.5)
    assert [(snr.get_xscale(), kurtosis.get_xscale())] == [("symlog", "log")]
    assert not any(text.get_text() for text in kurtosis.get_yticklabels())
    points = {dots.get_label(): dots.get_offsets().tolist() for dots in shares.collections}
    # By the Gaussian formula 0.01 less a layer, by resampling 0.02.
    assert points[EMA] == [pytest.approx([0.8 - 0.01 * place, 0.8 - 0.02 * place]) for place in range(len(LAYERS))]


def test_a_number_that_was_not_finite_leaves_a_gap_and_moves_no_other_layer():
    """The runner leaves it out: here the kurtosis of the second layer."""
    records = [
        r.model_copy(update={"curves": {k: c for k, c in r.curves.items() if k != f"noise/{LAYERS[1]}/kurtosis"}})
        for r in study_records()
    ]
    assert [place for _, place in estimates(figures.fig_noise(records).axes[1])] == [0, 2]


def test_without_the_runs_that_measure_nothing_is_labelled():
    assert figures.fig_noise(study_records(without=("ema",))).legends == []


def test_a_run_that_diverged_before_its_first_evaluation_has_no_curve_to_draw():
    records = study_records(diverged=("batch/1",))
    records = [r.model_copy(update={"curves": {}}) if r.diverged else r for r in records]
    for draw in DRAW:
        draw(records)
