"""A playground is an ordinary figure wherever nobody can move anything, and wrong values are one line."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from regrad.playground import explore as module
from regrad.playground.controls import Choice, Dial, Slider, Switch, kept, started
from regrad.playground.explore import Explored, Mistake, View, explore
from regrad.report.style import canvas

ARMS = {"a": ("x", "y"), "b": ("z",)}


def controls(state, values):
    """Arms depend on the study, as they do in every playground of records."""
    study = values.get("study", "a")
    arms = ARMS.get(study, ARMS["a"])
    return {"study": Choice(("a", "b")), "arm": Choice(arms), "height": Slider(0.0, 2.0, 1.0), "dots": Switch()}


def draw(state, *, study, arm, height, dots):
    if height == 2.0:
        raise ValueError("height = 2: nothing to see up there\nat all")
    with canvas() as (figure, axis):
        axis.plot([0, height], "o" if dots else "-")
        axis.set_title(f"{state} {study} {arm}")
    return View(figure, f"{study}/{arm}")


TOY = SimpleNamespace(controls=controls, draw=draw)


@pytest.fixture
def unwatched(monkeypatch):
    for name in module.WATCHED:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("unwatched")
def test_without_a_browser_it_is_a_figure_whose_bytes_repeat():
    bundles = [explore(TOY, "s", study="b")._repr_mimebundle_() for _ in range(2)]
    assert bundles[0] == bundles[1]
    assert set(bundles[0]) == {"image/png", "text/plain"}
    assert bundles[0]["image/png"].startswith(b"\x89PNG")
    assert bundles[0]["text/plain"] == "b/z"
    assert explore(TOY, "s")._repr_mimebundle_() != bundles[0]


def test_a_watched_kernel_without_ipywidgets_shows_the_figure_too(monkeypatch):
    monkeypatch.setenv(module.WATCHED[0], "a notebook")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert set(explore(TOY, "s")._repr_mimebundle_()) == {"image/png", "text/plain"}


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ({"study": "c"}, "study = 'c'; allowed: a, b"),
        ({"study": "b", "arm": "x"}, "arm = 'x'; allowed: z"),
        ({"height": 3}, "height = 3; allowed: a number from 0 to 2"),
        ({"height": True}, "height = True; allowed: a number from 0 to 2"),
        ({"height": float("nan")}, "height = nan; allowed: a number from 0 to 2"),
        ({"dots": 1}, "dots = 1; allowed: True, False"),
        ({"heigt": 1}, "no control 'heigt'; did you mean 'height'?"),
        ({"height": 2.0}, "height = 2: nothing to see up there"),
    ],
    ids=str,
)
def test_a_wrong_start_is_one_line(start, line):
    found = explore(TOY, "s", **start)
    assert isinstance(found, Mistake)
    assert repr(found) == line


def test_a_change_keeps_what_still_goes_with_it():
    explored = Explored(TOY, "s", {"arm": "y", "height": 0.5})
    explored.change(study="b")
    assert explored.values == {"study": "b", "arm": "z", "height": 0.5, "dots": False}
    explored.change(study="a")
    assert explored.values["arm"] == "x"


def test_values_are_checked_and_defaults_fill_the_rest():
    some = {"n": Slider(1, 9, 3, whole=True), "rate": Dial(("1", "2"), "2")}
    assert started(some, {}) == {"n": 3, "rate": "2"}
    assert kept(some, {"n": 4, "rate": "7", "other": 1}) == {"n": 4, "rate": "2"}
    with pytest.raises(ValueError, match=r"n = 2\.5; allowed: a whole number from 1 to 9"):
        started(some, {"n": 2.5})


def test_ipywidgets_is_imported_by_the_panel_alone_and_only_when_it_is_shown():
    code = (
        "import sys; sys.modules['ipywidgets'] = None\n"
        "from regrad.playground import browser, explore, pairs, rates, shelf\n"
        "assert 'regrad.playground.panel' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


widgets = pytest.importorskip("ipywidgets", reason="needs ipywidgets")


@pytest.fixture
def panel():
    from regrad.playground.panel import Panel

    return Panel(Explored(TOY, "s", {}))


def test_moving_a_widget_draws_anew_and_other_widgets_follow(panel):
    before = panel.picture.value
    panel.widgets["study"].value = "b"
    assert panel.widgets["arm"].options == ("z",)
    assert panel.widgets["arm"].value == "z"
    assert panel.picture.value not in (before, b"")
    assert "b/z" in panel.text.value


def test_a_list_shows_words_and_stands_for_what_a_cell_says():
    from regrad.playground.narrowing import choice
    from regrad.playground.panel import Panel

    arms = choice("arm", ("V0", "came:1", "came:2", "mine"))
    assert arms.words == ("ALSDGC as printed", "CAME (came:1)", "CAME (came:2)", "mine")
    toy = SimpleNamespace(controls=lambda state, values: {"arm": arms}, draw=lambda state, *, arm: View(Figure(), arm))
    panel = Panel(Explored(toy, None, {"arm": "came:2"}))
    assert panel.widgets["arm"].label == "CAME (came:2)"
    panel.widgets["arm"].label = "ALSDGC as printed"
    assert "V0" in panel.text.value
    assert panel.said.value == ""


def test_a_mistake_is_one_line_above_the_last_good_picture(panel):
    before = panel.picture.value
    panel.widgets["height"].value = 2.0
    assert "nothing to see up there" in panel.said.value
    assert "at all" not in panel.said.value
    assert panel.picture.value == before
    panel.widgets["height"].value = 1.5
    assert panel.said.value == ""


def test_where_somebody_looks_the_bundle_has_widgets_and_the_figure_for_where_they_are_not(monkeypatch):
    monkeypatch.setenv(module.WATCHED[0], "a notebook")
    bundle = explore(TOY, "s")._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
