"""The site in headless Chromium: a small constructed site, or the one in the folder that ``REGRAD_SITE`` names."""

import os
from pathlib import Path

import pytest

from browsing import CHROMIUM, barriers, chromium, served, watched

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
PATIENCE = 120_000
ROWS = ".ledger tbody tr"


@pytest.fixture(scope="module")
def folder(request):
    given = os.environ.get("REGRAD_SITE")
    return Path(given) if given else request.getfixturevalue("small_site")


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium(PATIENCE) as opened:
        yield opened


@pytest.fixture
def opened(browser, address):
    """Open pages; whatever one complains of, or asks another host for, fails the test at its end."""
    with watched(browser, ("data:", address), PATIENCE) as new_page:

        def show(name="index.html", **options):
            page = new_page(**options)
            page.goto(address + name)
            return page

        yield show


def visible(page):
    return page.locator(ROWS + ":visible").count()


def status(page):
    return page.locator(".filters [role=status]").inner_text()


def test_the_filters_change_the_rows_and_say_how_many_are_left(opened):
    page = opened()
    total = page.locator(ROWS).count()
    assert visible(page) == total
    assert status(page) == f"{total} of {total} claims shown"
    row = page.locator(ROWS).first
    paper, verdict, name = row.get_attribute("data-paper"), row.get_attribute("data-verdict"), row.get_attribute("id")
    page.select_option("[name=paper]", paper)
    expected = page.locator(f'{ROWS}[data-paper="{paper}"]').count()
    assert 0 < visible(page) == expected
    assert status(page) == f"{expected} of {total} claims shown"
    page.select_option("[name=verdict]", verdict)
    assert visible(page) == page.locator(f'{ROWS}[data-paper="{paper}"][data-verdict="{verdict}"]').count()
    page.fill("[name=words]", "no claim says this")
    assert visible(page) == 0
    assert status(page) == f"0 of {total} claims shown"
    page.fill("[name=words]", name.removeprefix("claim-").upper() + " " + verdict.upper())
    assert page.locator(f"#{name}").is_visible()
    page.click("button[type=reset]")
    page.wait_for_function(f"document.querySelectorAll('{ROWS}:not([hidden])').length === {total}")
    assert status(page) == f"{total} of {total} claims shown"


def test_without_javascript_every_row_and_figure_is_there_and_no_dead_filter(opened):
    page = opened(java_script_enabled=False)
    assert visible(page) == page.locator(ROWS).count() > 0
    assert page.locator(".filters").is_hidden()
    page.goto(page.url.replace("index", "figures"))
    link = page.locator("a.enlarge").first
    assert link.get_attribute("href").endswith(".png")
    assert page.locator("figcaption .stamp").first.is_visible()


def test_one_search_finds_claims_and_notebooks_from_any_page(opened, address):
    page = opened("figures.html", viewport={"width": 1280, "height": 900})
    for words, place in {"momentum": "index.html", "first study": "01_first.html"}.items():
        page.fill(".sidebar-search", words)
        page.press(".sidebar-search", "Enter")
        page.wait_for_selector("#search-results .search li a")
        assert place in page.eval_on_selector_all(
            "#search-results li a", "links => links.map(a => a.pathname.slice(1))"
        )


def test_the_keyboard_reaches_the_filters_and_enlarges_a_figure_and_escape_closes_it(opened):
    page = opened(viewport={"width": 1280, "height": 900})
    page.keyboard.press("Tab")
    assert "skip-to-content" in page.evaluate("document.activeElement.className")
    assert {"paper", "verdict", "words", "table-wrapper"} <= reached(page, "table-wrapper docutils")
    page.goto(page.url.replace("index", "figures"))
    reached(page, "enlarge")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] img")
    assert page.locator("dialog").get_attribute("aria-label")
    page.wait_for_function("document.querySelector('dialog img').naturalWidth > 0")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.className") == "enlarge"


def reached(page, last):
    """What has the focus from one press of Tab to the next, until a class is reached or the page ends."""
    found = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        found.add(page.evaluate("document.activeElement.name || document.activeElement.className"))
        if last in found:
            break
    return found


@pytest.mark.slow
def test_no_page_keeps_anybody_out(opened, folder, address):
    """Of the whole site: ``tests/test_from_reference.py``."""
    pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    page, names = opened(), sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    assert [line for name in names for line in barriers(page, address, name)] == []


def test_every_page_has_a_language_a_title_landmarks_and_one_first_heading(opened, folder, address):
    page = opened()
    for name in ("index.html", "figures.html", "01_first.html"):
        page.goto(f"{address}{name}")
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title()
        counts = {part: page.locator(part).count() for part in ("[role=main]", "header", "footer", "h1")}
        assert counts == dict.fromkeys(counts, 1), name
        assert page.locator("img:not([alt])").count() == 0
