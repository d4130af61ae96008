"""The playgrounds in the real JupyterLab, looked at by headless Chromium: loopback, with its token, behind a prefix."""

import subprocess

import pytest

from browsing import CHROMIUM
from lab_desk import PLAYGROUNDS, PREFIX, start_page
from lab_server import ROOT, START

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("ipywidgets", reason="needs ipywidgets")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def page_of_the_lab(tmp_path_factory):
    with start_page(tmp_path_factory.mktemp("lab")) as desk:
        yield desk


@pytest.fixture
def desk(page_of_the_lab):
    """The desk; nothing that a test does makes the page complain, or changes a file that git knows."""
    before = state_of_git(), generated()
    yield page_of_the_lab
    assert (state_of_git(), generated()) == before
    said = page_of_the_lab.complaints[:]
    page_of_the_lab.complaints.clear()
    assert said == []


def state_of_git():
    command = ["git", "status", "--porcelain", "notebooks", "paper", "results"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def generated():
    return sorted((path, path.stat().st_mtime) for path in (ROOT / "paper" / "generated").rglob("*"))


def test_the_start_page_leads_to_two_arms_which_are_compared_and_nothing_is_written(desk):
    assert desk.page.url.endswith(f"{PREFIX}lab/tree/{START}")
    assert desk.page.locator("text=Jupyter news").count() == 0
    with desk.playground("two_arms"):
        assert desk.panels.count() == 1
        assert desk.move_everything(undo=False) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name in PLAYGROUNDS if name != "two_arms"])
def test_every_control_of_every_playground_moves_its_figure(desk, name):
    with desk.playground(name):
        expected = 2 if name == "rules" else 1
        desk.panels.nth(expected - 1).wait_for()
        assert desk.panels.count() == expected
        first = desk.seen(0)
        assert desk.move_everything(undo=name == "referee") == []
        if name == "sign":  # also after a restart: then with the values of its cell
            assert desk.seen(0) != first
            desk.run_all(restart=True)
            assert desk.seen(0) == first
