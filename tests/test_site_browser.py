"""The site in headless Chromium: a small constructed site, or the one in the folder that ``REGRAD_SITE`` names."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from browsing import CHROMIUM, chromium, watched

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
PATIENCE = 120_000
ROWS = ".ledger tbody tr"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(request):
    given = os.environ.get("REGRAD_SITE")
    folder = Path(given) if given else request.getfixturevalue("small_site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


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


def names(page):
    """The index and every page that it leads to in the site's own folder, one of each kind of deeper page."""
    found = page.eval_on_selector_all("a[href]", "links => links.map(a => a.getAttribute('href').split('#')[0])")
    html = sorted({name for name in found if name.endswith(".html") and not name.startswith("http")})
    deep = [next((n for n in html if n.startswith(kind)), "index.html") for kind in ("code/", "records/")]
    return ["index.html", *(n for n in html if "/" not in n and n != "index.html"), *deep]


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
    link = page.locator("a.enlarge").first
    assert link.get_attribute("href").endswith(".png")
    assert page.locator("figcaption .stamp").first.is_visible()


def test_every_link_of_every_page_leads_somewhere(opened, address):
    page = opened()
    seen, queue, anchors = set(), ["index.html"], []
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = page.request.get(address + name)
        assert answer.status == 200, name
        if not name.endswith(".html"):
            continue
        page.set_content(answer.text().replace("<script>", "<script type=none>"), wait_until="commit")
        script = "nodes => nodes.map(n => n.getAttribute('href') || n.getAttribute('src'))"
        links = page.eval_on_selector_all("body [href], body [src]", script)
        ids = set(page.eval_on_selector_all("[id]", "nodes => nodes.map(n => n.id)"))
        anchors.append((name, ids, set(links)))
        for link in set(links):
            path = link.split("#")[0]
            if path and not path.startswith(("http", "data:")):
                queue.append(os.path.normpath(os.path.join(os.path.dirname(name), path)))
    known = {name: ids for name, ids, _ in anchors}
    for name, _, links in anchors:
        for link in (link for link in links if "#" in link and not link.startswith("http")):
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            assert anchor in known[target], (name, link)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(opened, scheme):
    page = opened(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    root = page.url.rsplit("/", 1)[0]
    for name in names(page):
        page.goto(f"{root}/{name}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, (name, width)


def contrast(page, selector):
    """WCAG's contrast of an element's text with the page."""
    script = """node => [getComputedStyle(node).color, getComputedStyle(document.body).backgroundColor]
        .map(text => text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b)"""
    low, high = sorted(page.locator(selector).first.evaluate(script))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_either_colour_scheme(opened, scheme):
    page = opened(color_scheme=scheme)
    kinds = ["body", "main a", ".stamp", ".why", *(f".{name}" for name in ("reproduced", "not-reproduced"))]
    kinds += [".inconclusive", ".not-tested", ".refuted-by-construction"]
    assert {kind: value for kind in kinds if (value := contrast(page, kind)) < 4.5} == {}


def test_the_keyboard_reaches_the_filters_and_enlarges_a_figure_and_escape_closes_it(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        where = page.evaluate("document.activeElement.name || document.activeElement.className")
        reached.add(where)
        if where == "enlarge":
            break
    assert {"paper", "verdict", "words", "scroll", "enlarge"} <= reached
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] img")
    assert page.locator("dialog").get_attribute("aria-label")
    page.wait_for_function("document.querySelector('dialog img').naturalWidth > 0")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.className") == "enlarge"


def test_every_page_has_a_language_a_title_landmarks_and_one_first_heading(opened):
    page = opened()
    root = page.url.rsplit("/", 1)[0]
    for name in names(page):
        page.goto(f"{root}/{name}")
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title()
        counts = {part: page.locator(part).count() for part in ("main", "body > header", "body > footer", "h1")}
        assert counts == dict.fromkeys(counts, 1), name
        assert page.locator("img:not([alt])").count() == 0
