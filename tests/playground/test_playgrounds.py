"""Each playground is two plain functions of a state; what they show is checked where it can be known."""

import json
import math
import re
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from micro_adam_records import study_records
from regrad import archive
from regrad.groups import arm_of
from regrad.playground import bowl, browser, clusters, own, pairs, rates, referee, rules, signs, training
from regrad.playground.controls import started
from regrad.playground.explore import Explored, explore
from regrad.playground.shelf import Shelf
from regrad.published import SET

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "reference" / SET
FOLDER = ROOT / "notebooks" / "playground"
NOTEBOOKS = sorted(path for path in FOLDER.glob("*.ipynb"))
PLANNED = {"margin_times": 1.0, "gate": referee.GATES[0], "without_seed": "none", "seeds_read": "as planned"}


@pytest.fixture(scope="module")
def shelf():
    return Shelf(PUBLISHED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_playground_is_a_notebook_of_at_most_six_cells_without_outputs_whose_links_lead_somewhere(path):
    notebook = json.loads(path.read_text())
    assert len(notebook["cells"]) <= 6
    text = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert text[0].startswith("# ")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert max(len("".join(cell["source"]).splitlines()) for cell in code) <= 12
    for link in re.findall(r"\]\(([^)]+)\)", "\n".join(text)):
        assert (path.parent / link).is_file(), link


def test_the_start_page_leads_to_every_playground_and_every_study():
    text = (FOLDER / "start.ipynb").read_text()
    missing = [p.name for p in [*NOTEBOOKS, *ROOT.glob("notebooks/*.ipynb")] if f"/{p.name})" not in text]
    assert missing == ["start.ipynb"]


def test_the_shelf_reads_what_the_archive_reads(shelf):
    lists = {r.run_id: r for r in archive.Archive(PUBLISHED / "runs") if r.spec.problem.name == "language"}
    found = {r.run_id: r for r in shelf.records("sign_placement")}
    assert len(found) > 30
    for name, record in found.items():
        assert {k: (list(c.x), list(c.y)) for k, c in record.curves.items()} == {
            k: (c.x, c.y) for k, c in lists[name].curves.items()
        }
        assert record.spec.key() == lists[name].spec.key()
        assert (record.metrics, record.diverged) == (lists[name].metrics, lists[name].diverged)
        assert set(record.spec.tags) >= {"arm", "phase"}


def test_a_damaged_file_is_refused_in_one_line_and_a_missing_set_too(tmp_path):
    from regrad.playground.shelf import light, lines

    file = tmp_path / "runs" / "sign_placement.jsonl.xz"
    file.parent.mkdir()
    whole = (PUBLISHED / "runs" / file.name).read_bytes()
    for bad in (whole[:-100], whole[: len(whole) // 2], whole[:500] + b"\0" + whole[501:]):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match="damaged; restore it from git") as caught:
            list(lines(file))
        assert "\n" not in str(caught.value)
    line = next(lines(PUBLISHED / "runs" / file.name))
    with pytest.raises(ValueError, match="belongs to another run"):
        light(line.replace(b'"seed":', b'"seed":1', 1))
    with pytest.raises(ValueError, match="no published records"):
        Shelf(tmp_path / "nothing-cpu")


def test_the_browser_finds_every_run_of_a_study_and_shows_its_curve_and_its_bytes(shelf):
    explored = Explored(browser, shelf, {"study": "sign_placement", "phase": "tune", "arm": "ema"})
    runs = explored.controls(explored.values)["run"].options
    records = [
        r for r in shelf.records("sign_placement") if (r.spec.tags["phase"], r.spec.tags["arm"]) == ("tune", "ema")
    ]
    assert len(runs) == len(records) > 1
    for name in runs[:2]:
        explored.change(run=name)
        view = explored.draw(**explored.values)
        (record,) = (r for r in records if browser.name_of(r) == name)
        assert list(view.figure.axes[0].lines[-1].get_ydata()) == list(record.curves["validation_loss"].y)
        assert record.run_id in view.text
        assert spec_in(view.text)["seed"] == record.spec.seed
    size = int(re.search(r"([\d,]+) bytes", view.text).group(1).replace(",", ""))
    assert size > len(json.dumps(record.metrics))


def spec_in(text):
    return json.loads(text[text.index("{\n") : text.index("\n}") + 2])


def test_a_run_s_numbers_stand_a_line_each_and_those_of_layers_after_its_spec(shelf):
    run = next(r for r in shelf.of("micro_adam") if any("/" in name for name in r.record.metrics))
    text = browser.about(run)
    lines = text.splitlines()
    place = {line.split()[0]: k for k, line in enumerate(lines) if line.split()[0] in run.record.metrics}
    assert set(place) == set(run.record.metrics)
    assert place["test_loss"] < lines.index("{") < min(k for name, k in place.items() if "/" in name)
    assert spec_in(text)["steps"] == run.record.spec.steps


def test_no_legend_hides_what_two_arms_ended_at_and_the_dial_is_labelled_at_the_rates_of_the_grid(shelf):
    view = pairs.draw(shelf, study="alsdgc", part="plain", arm="V0", against="clip-1", metric="test_accuracy")
    view.figure.canvas.draw()
    for axis in view.figure.axes:
        assert axis.get_legend().get_window_extent().y0 >= axis.get_window_extent().y1
    said = [text.get_text() for text in view.figure.axes[0].get_legend().get_texts()]
    assert said == ["ALSDGC as printed", "clipping at norm 1"]
    assert view.figure.axes[0].get_ylabel() == "test accuracy, higher is better"
    explored = Explored(rates, shelf, {"study": "micro_adam"})
    axis = explored.draw(**explored.values).figure.axes[0]
    assert [float(text.get_text()) for text in axis.get_xticklabels()] == pytest.approx(
        [float(rate) for rate in explored.controls(explored.values)["rate"].options], rel=0.05
    )
    assert axis.get_xticklabels(minor=True) == []


@pytest.mark.parametrize("playground", [browser, rates, pairs])
def test_every_choice_of_every_study_can_be_drawn(shelf, playground):
    """From each study's default, one change of each control."""
    explored = Explored(playground, shelf, {})
    for study in ("sign_placement", "sgg"):
        explored.change(study=study)
        for name, control in list(explored.controls(explored.values).items()):
            if name != "study":
                explored.change(**{name: control.options[-1]})
                view = explored.draw(**explored.values)
                assert view.text
                assert view.figure.axes


def test_the_dial_says_what_tuning_said(shelf):
    explored = Explored(rates, shelf, {"study": "sign_placement", "arm": "ema"})
    from regrad.report.outcomes import Outcomes

    choice = Outcomes(shelf.records("sign_placement")).choices()["ema"]
    assert float(explored.values["rate"]) == pytest.approx(choice.best, rel=1e-5)
    lowest = explored.controls(explored.values)["rate"].options[0]
    explored.change(rate=lowest)
    view = explored.draw(**explored.values)
    assert f"mean loss {choice.means[min(choice.means)]:.4g}" in view.text
    assert next(iter(view.figure.axes[0].lines[-1].get_xdata())) == pytest.approx(float(lowest), rel=1e-5)


def test_two_arms_are_compared_seed_by_seed(shelf):
    from regrad.report.outcomes import Outcomes

    view = Explored(pairs, shelf, {"study": "micro_adam", "arm": "micro_adam_var", "against": "adam"}).draw(
        study="micro_adam", part="language", arm="micro_adam_var", against="adam", metric="test_loss"
    )
    fresh = Outcomes(shelf.records("micro_adam")).part("language").fresh
    gap = fresh.arm("micro_adam_var").gap(fresh.arm("adam"))
    assert f"Difference {gap.estimate:.4g}, 95 % interval [{gap.low:.4g}, {gap.high:.4g}], {gap.n} pairs" in view.text
    assert "diverged: 0 and 0 runs" in view.text


@pytest.mark.parametrize("study", ["micro_adam", "dgs"])
def test_a_referee_who_moves_nothing_finds_the_published_verdicts_to_the_digit(study):
    bench = referee.Bench(PUBLISHED)
    published = {row["id"]: row for row in bench.published}
    rows = referee.judged(bench, study, **PLANNED)
    assert len(rows) == sum(row["study"] == study for row in bench.published) > 5
    said = ("label", "parameters", "runs")  # of the runs that decide, which the referee leaves as they are
    for row in rows:
        old = published[row["id"]]
        assert {k: v for k, v in row.items() if k not in said} == {k: v for k, v in old.items() if k not in said}


def lost(rows):
    """How many of some verdicts a gate can take away."""
    return sum(row["verdict"] != "not tested" for row in rows.values())


def test_gates_margins_and_seeds_move_verdicts_and_the_board_follows():
    bench = referee.Bench(PUBLISHED)

    def found(**moved):
        rows = referee.judged(bench, "sign_placement", **PLANNED | moved)
        return {row["id"]: row for row in rows}

    published, strict = found(), {"gate": "the competent value"}  # which no short run reaches
    assert {row["verdict"] for row in found(**strict).values()} == {"not tested"}
    assert published["C3"]["verdict"] != "not tested"
    assert found(margin_times=10.0)["C3"]["margin"] == pytest.approx(10 * published["C3"]["margin"])
    assert found(without_seed="0")["C3"]["n"] in (4, published["C3"]["n"] - 1)  # at the first look, if that decides now
    assert found(seeds_read="4")["C3"]["n"] == 4
    still = referee.draw(bench, study="sign_placement", **PLANNED)
    verdicts = Counter(row["verdict"] for row in bench.published)
    assert still.text.startswith(f"No verdict of these {len(published)} claims")
    assert f": {verdicts['reproduced']} reproduced, {verdicts['not reproduced']} not reproduced, " in still.text
    view = referee.draw(bench, study="sign_placement", **PLANNED | strict)
    assert f"{verdicts['not tested'] + lost(published)} not tested (published: {verdicts['not tested']})" in view.text
    assert f"C3: {published['C3']['verdict']} → not tested" in view.text
    assert (
        Explored(referee, bench, {"study": "sign_placement"}).first[0]
        != Explored(referee, bench, {"study": "sign_placement", **strict}).first[0]
    )


def test_at_equal_steps_a_later_sign_is_right_more_often_and_a_skewed_noise_misleads_the_earliest():
    still = {"noise": 3.0, "batch_size": 16, "momentum": 0.9, "rate": 0.03}
    ends = {p: signs.descend(p, skewed=False, **still)[-1] for p in signs.PLACEMENTS}
    assert ends["ema"] < ends["batch"] < ends["example"]
    skewed = {p: signs.descend(p, skewed=True, **still)[-1] for p in ("example", "ema")}
    assert skewed["example"] > 3 * skewed["ema"]
    calm = signs.descend("ema", skewed=False, **still | {"noise": 0.01})
    assert calm[20] < 0.5 * calm[0]


def test_clusters_are_ordered_by_momentum_and_the_public_code_s_scales_are_one_line():
    found = clusters.train(clusters.PAPER, clusters=3, interval=20, beta3=0.9, steps=100)
    means = [float(found.momentum[found.cluster == k].mean()) for k in range(3)]
    assert means == sorted(means)
    assert [step for step, _ in found.scales] == [20, 40, 60, 80, 100]
    assert len(set(found.scales[-1][1])) == 3
    public = clusters.train(clusters.PUBLIC, clusters=3, interval=20, beta3=0.9, steps=100)
    assert max(public.scales[-1][1]) - min(public.scales[-1][1]) < 1e-3
    assert public.scales[-1][1][0] == pytest.approx(0.9**5, rel=0.01)


def test_the_scale_doubles_whatever_is_drawn_and_the_trace_goes_through_its_points():
    points = [2.0, 1.0, 0.5, 4.0]
    trace = rules.trace(points)
    assert [trace[0], trace[-1]] == pytest.approx([2.0, 4.0])
    assert min(trace) == pytest.approx(0.5, rel=0.05)
    defaults = started(rules.controls(None, {}), {})
    view = rules.draw(None, **defaults)
    scale = list(view.figure.axes[1].lines[0].get_ydata())
    assert scale[:5] == [1, 2, 4, 8, 16]
    flat = rules.draw(None, **defaults | {f"norm_{k}": 1.0 for k in range(1, 9)})
    assert list(flat.figure.axes[1].lines[0].get_ydata()) == scale


def test_readings_that_are_one_formula_take_one_path_in_the_bowl():
    start, curvature = torch.tensor([0.8, 0.6]), torch.tensor([1.0, 10.0])
    paths = {name: bowl.descend(name, start, curvature, 0.05, 20) for name in bowl.READINGS}
    assert paths["equation"] == paths["equation_as_rate"]
    assert paths["steps"] != paths["equation"]
    ends = {name: math.hypot(*path[-1]) for name, path in paths.items()}
    assert all(end < 1.0 for end in ends.values())


def test_a_published_run_that_is_trained_anew_is_its_own_curve():
    """Nothing but optimizer, rate and seed of the spec is changed, and what was published is left as it is."""
    record = study_records()[0]
    spec = training.yours(record.spec, training.PUBLISHED, 1.0, record.spec.seed)
    assert spec.model_copy(update={"measures": record.spec.measures}).key() == record.spec.key()
    other = training.yours(record.spec, "SGG around AdamW", 2.0, 7)
    assert (other.optimizer.lr, other.seed) == (pytest.approx(2 * record.spec.optimizer.lr), 7)
    assert other.optimizer.base.name == "adamw"
    assert (other.problem, other.steps) == (record.spec.problem, record.spec.steps)


def test_arms_are_offered_whose_quickest_run_is_short_however_slow_the_others_machine_was(shelf):
    offered = training.offers(shelf)
    assert len(offered) >= 2  # or the list of problems moves nothing
    for name, offer in offered.items():
        study, part = name.split(", ")
        assert {r.spec.tags["phase"] for r in offer.fresh} == {"fresh"}
        for arm in offer.fresh.arms:
            runs = [r for r in shelf.of(study) if arm_of(r.record.spec) == (part, arm) and r.record.finite]
            assert min(r.went.seconds for r in runs) == offer.seconds[arm] <= training.QUICK
    assert training.said("alsdgc, lstm") == "ALSDGC, sentiment"


def test_a_longer_run_is_trained_as_far_as_one_waits():
    """To an evaluation, where the published curves have a point; the schedule stays that of the whole run."""
    spec = study_records()[0].spec.model_copy(update={"steps": 400, "evaluations": 10})
    assert training.last_step(spec, training.SECONDS / 2) == training.last_step(spec, training.SECONDS) == 400
    assert training.last_step(spec, 2 * training.SECONDS) == 200
    assert training.last_step(spec, 2.1 * training.SECONDS) == 160
    assert training.last_step(spec, 1000 * training.SECONDS) == 40


def test_a_statistic_of_your_own_that_is_not_finite_is_one_line(tmp_path):
    found = own.problem_of(tmp_path)
    assert found.init_model() is not None
    state = own.Own(torch.sign, tmp_path)
    view = own.draw(state, layer=own.LAYER, batch_size="4", batch=0)
    assert "Same sign as the mean gradient" in view.text
    with pytest.raises(ValueError, match="your function returned what is not finite"):
        own.draw(own.Own(lambda g: g / 0, tmp_path), layer=own.LAYER, batch_size="4", batch=0)
    wrong = explore(own, own.Own(lambda g: g.clmap(0, 1), tmp_path))
    assert repr(wrong).endswith("it raised AttributeError: 'Tensor' object has no attribute 'clmap'")


def states(shelf, folder):
    """Each playground with its state and the seconds in which it has to answer."""
    bench = referee.Bench(PUBLISHED)
    records = [(playground, shelf, 1.0) for playground in (browser, rates, pairs)]
    toys = [(playground, None, 5.0) for playground in (signs, clusters, rules, bowl)]
    return [*records, (referee, bench, 1.0), *toys, (own, own.Own(torch.sign, folder), 5.0)]


def answered(explored):
    """Return the seconds of this process that a control took."""
    start = time.process_time()
    explored.change(**explored.values)
    explored.png()
    return time.process_time() - start


@pytest.mark.slow
def test_a_control_is_answered_in_a_second_from_records_and_in_five_by_a_toy(shelf, tmp_path):
    """In seconds of this process, the least of three: what else the machine does is not counted."""
    late = []
    for playground, state, limit in states(shelf, tmp_path):
        explored = Explored(playground, state, {})
        explored.png()  # the first load has three seconds
        if (took := min(answered(explored) for _ in range(3))) > limit:
            late.append(f"{playground.__name__}: {took:.1f} s")
    assert late == []
