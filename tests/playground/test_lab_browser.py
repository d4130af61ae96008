"""The playgrounds in the real JupyterLab, looked at by headless Chromium: loopback, with its token."""

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

from browsing import CHROMIUM, chromium, watched
from lab_server import ROOT, lab

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("ipywidgets", reason="needs ipywidgets")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.timeout(600),
]
PATIENCE = 180_000
PREFIX = "/behind/a/proxy/"
PLAYGROUNDS = ("records", "learning_rate", "two_arms", "referee", "sign", "clusters", "rules", "train_one")
PLAYGROUNDS += ("odd_picture", "own_statistic")
PICTURE = "img.widget-image"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with lab(tmp_path_factory.mktemp("lab"), prefix=PREFIX) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium(PATIENCE) as opened:
        yield opened


@pytest.fixture
def opened(browser, address):
    """Open a file of the checkout; whatever the page complains of, or asks another host for, fails the test."""
    url, token = address
    with watched(browser, ("data:", "blob:", url, url.replace("http", "ws", 1)), PATIENCE) as new_page:

        def show(name):
            page = new_page(viewport={"width": 1400, "height": 1300})
            # A workspace of its own: another would come back with the notebooks that were open in it.
            page.goto(f"{url}lab/workspaces/{Path(name).stem}/tree/{name}?token={token}")
            page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
            return page

        yield show


def run_all(page, *, restart=False):
    """Use the menu, as people do, once the kernel is there."""
    page.wait_for_selector('text="Python 3 (ipykernel) | Idle"')
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Restart Kernel and Run All Cells…")' if restart else
               '.lm-Menu-itemLabel:text-is("Run All Cells")')  # fmt: skip
    if restart:
        page.click('.jp-Dialog button:has-text("Restart")')
    page.wait_for_selector(PICTURE)


def seen(page, number):
    """The bytes of a picture, by their hash."""
    script = "async n => Array.from(new Uint8Array(await (await fetch(n.src)).arrayBuffer()))"
    return hashlib.sha256(bytes(page.locator(PICTURE).nth(number).evaluate(script))).hexdigest()


def panels(page):
    """Each playground of a page: its box, in which controls stand above a picture."""
    return page.locator(f".jupyter-widgets.widget-vbox:has(> {PICTURE})")


def moves(panel):
    """How each control can be moved, a little and then more; from the last list, which depends on those before it."""
    for number in reversed(range(panel.locator("select").count())):
        select = panel.locator("select").nth(number)
        count = select.locator("option").count()
        if count == 1:
            continue
        yield f"list {number}", [lambda k=k, s=select: s.select_option(index=k) for k in range(min(count, 4))]
    for number in range(panel.locator(".noUi-handle").count()):
        handle = panel.locator(".noUi-handle").nth(number)
        yield f"slider {number}", [lambda key=key, h=handle: h.press(key) for key in ("ArrowRight", "ArrowLeft") * 2]
    for number in range(panel.locator("input[type=checkbox]").count()):
        yield f"switch {number}", [panel.locator("input[type=checkbox]").nth(number).click]


def changed(page, number, before, seconds):
    """Whether the picture becomes another within some seconds, and after how many."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if seen(page, number) != before:
            return time.monotonic() - start
        page.wait_for_timeout(50)
    return None


def move_everything(page, seconds, *, back=""):
    """Move every control of every panel; return those that moved no picture, and the slowest answer.

    ``back`` is a list's option that is chosen again after each control, where without it the others decide nothing.
    """
    still, slowest = [], 0.0
    for number in range(panels(page).count()):
        for name, tries in moves(panels(page).nth(number)):
            for act in tries:
                before = seen(page, number)
                act()
                if (took := changed(page, number, before, seconds)) is not None:
                    slowest = max(slowest, took)
                    if back:
                        before = seen(page, number)
                        page.locator("select", has=page.locator(f"option:text-is({back!r})")).first.select_option(back)
                        changed(page, number, before, 3.0)
                    break
            else:
                still.append(f"panel {number}, {name}")
    return still, slowest


def state_of_git():
    done = subprocess.run(
        ["git", "status", "--porcelain", "notebooks", "paper", "results"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout


def test_two_arms_are_compared_in_the_lab_and_nothing_is_written(opened):
    before = state_of_git()
    generated = sorted((ROOT / "paper" / "generated").rglob("*"))
    page = opened("notebooks/playground/two_arms.ipynb")
    assert page.locator("text=Jupyter news").count() == 0
    run_all(page)
    assert panels(page).count() == 1
    still, _ = move_everything(page, 20.0)
    assert still == []
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)
    assert state_of_git() == before
    assert sorted((ROOT / "paper" / "generated").rglob("*")) == generated


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name in PLAYGROUNDS if name != "two_arms"])
def test_every_control_of_every_playground_moves_its_figure(opened, name):
    before = state_of_git()
    page = opened(f"notebooks/playground/{name}.ipynb")
    run_all(page)
    expected = 2 if name == "rules" else 1
    panels(page).nth(expected - 1).wait_for()
    assert panels(page).count() == expected
    # Another gate than the ledger's can leave nothing to decide, whatever else is moved.
    waits, back = (8.0, "the ledger's") if name == "referee" else (20.0, "")
    still, _ = move_everything(page, waits, back=back)
    # Study, gate and margin change the referee's board only where a gate is shut or a claim has its runs.
    may = {"panel 0, list 0", "panel 0, list 1", "panel 0, slider 0"} if name == "referee" else set()
    assert set(still) <= may
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)
    assert state_of_git() == before


@pytest.mark.slow
def test_restart_and_run_all_shows_the_same_figure(opened):
    page = opened("notebooks/playground/sign.ipynb")
    run_all(page)
    first = seen(page, 0)
    run_all(page, restart=True)
    page.wait_for_timeout(3000)
    page.wait_for_selector(PICTURE)
    assert seen(page, 0) == first
