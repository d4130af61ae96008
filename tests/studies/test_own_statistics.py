"""The user's guide to statistics of one's own: its printed loop, its runs, its figures."""

import json
import re
from pathlib import Path

import pytest
import torch

from regrad.problems.language import LanguageOptions, LanguageProblem
from regrad.results import Curve, Record, run_id
from regrad.runner.build import build_gradient
from regrad.studies.own_statistics import figures
from regrad.studies.own_statistics import plan as study
from regrad.studies.own_statistics.sizes import PRESETS
from tiny_runs import FINGERPRINT

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_own_statistics.ipynb"


def record(spec, losses):
    curves = {"validation_loss": Curve(x=[4.0 * k for k in range(len(losses))], y=losses)}
    return Record(
        run_id=run_id(spec, FINGERPRINT), spec=spec, fingerprint=FINGERPRINT, status="finished", curves=curves
    )


def test_the_loop_that_the_guide_prints_runs_and_learns(tmp_path):
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    (code,) = re.findall(r"```python\n(.*?)```", "".join(cells[0]["source"]), re.S)
    assert len(code.strip().splitlines()) <= 12
    options = LanguageOptions(corpus="python-topics", model="0.1M", sequence_length=16, evaluation_sequences=16)
    problem = LanguageProblem.from_options(options, cache=tmp_path)
    model = problem.init_model()
    before = problem.evaluate(model)["loss"]
    exec(compile(code, "guide", "exec"), {"problem": problem, "model": model, "steps": 8})
    assert problem.evaluate(model)["loss"] < before - 0.1


def test_the_guide_compares_the_mean_with_one_function_at_equal_seeds():
    specs = study.specs("medium", [])
    assert [(s.tags["arm"], s.seed) for s in specs] == [("mean", 0), ("mean", 1), ("clamp", 0), ("clamp", 1)]
    assert [s.gradient is None for s in specs] == [True, True, False, False]
    assert len({s.model_copy(update={"gradient": None}).key() for s in specs}) == 2


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_built_and_clamps_where_it_says(preset):
    for spec in study.specs(preset, []):
        LanguageOptions(**spec.problem.options)
    clamp = build_gradient(spec).function
    assert clamp(torch.tensor([-1.0, 0.001, 1.0])).tolist() == pytest.approx([-0.003, 0.001, 0.003])


def test_a_line_is_the_mean_over_seeds_without_the_untrained_model_and_the_band_their_range():
    mean, _, clamp, other = study.specs("smoke", [])
    runs = [record(mean, [5.0, 2.0, 1.0]), record(clamp, [5.0, 4.0, 3.0]), record(other, [9.0, 3.0, 2.0])]
    (axes,) = figures.fig_training(runs).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {
        "Adam on the mean": [[4.0, 2.0], [8.0, 1.0]],
        "Adam on the mean of clamp": [[4.0, 3.5], [8.0, 2.5]],
    }
    _, band = axes.collections
    assert band.get_paths()[0].get_extents().extents.tolist() == [4.0, 2.0, 8.0, 4.0]


def test_a_diverged_run_is_in_no_line():
    mean, _, clamp, other = study.specs("smoke", [])
    runs = [record(mean, [5.0, 2.0, 1.0]), record(clamp, [5.0, 4.0, 3.0]), record(other, [5.0, 6.0, 7.0])]
    (axes,) = figures.fig_training(runs).axes
    assert axes.lines[1].get_ydata().tolist() == [4.0, 3.0]


def test_the_statistic_is_drawn_in_thousandths_against_the_mean():
    (axes,) = figures.fig_statistic([-0.001, 0.002], [-0.001, 0.001], "mean of its clamp").axes
    assert axes.collections[0].get_offsets().tolist() == [[-1.0, -1.0], [2.0, 1.0]]
    assert axes.get_ylabel() == "mean of its clamp (thousandths)"


def test_every_fourth_entry_of_one_parameter_is_a_point():
    weights = torch.arange(10.0).reshape(2, 5)
    statistics = {"mean": {"w": weights, "b": weights}, "own": {"w": -weights, "b": weights}}
    assert figures.points(statistics, "w") == [[0.0, 4.0, 8.0], [0.0, -4.0, -8.0]]
