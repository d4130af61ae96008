"""Headless Chromium, and pages in it that complain of nothing, ask no other host and keep nobody out."""

import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]
LOOKS = tuple(product(("light", "dark"), (390, 1280)))
RULES = {"resultTypes": ["violations"], "preload": False}


@contextmanager
def chromium(patience):
    """A browser; ``patience`` is in milliseconds."""
    from playwright.sync_api import sync_playwright  # here: who has it not learns Chromium's place all the same

    with sync_playwright() as program:
        opened = program.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=patience)
        yield opened
        opened.close()


@contextmanager
def watched(browser, own, patience):
    """Make pages; whatever one complains of, or asks another host than ``own`` for, fails at the end."""
    contexts, complaints = [], []

    def new_page(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(patience)
        listen(page, own, complaints)
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert complaints == []


def listen(page, own, complaints):
    """Add to a list what a page complains of, and what it asks another host than ``own`` for."""
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else complaints.append(f"request: {r.url}"))


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """The address of a folder's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def barriers(page, address, name, held=LOOKS):
    """What keeps readers of a page out: its width in every look, and axe's rules in those held against them."""
    from axe_playwright_python.sync_playwright import Axe

    page.goto(address + name)
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        violations = Axe().run(page, options=RULES).response["violations"] if (scheme, width) in held else []
        found = [v for v in violations if v["impact"] in ("serious", "critical")]
        lines = [f"{v['id']}: {node['html'][:90]}" for v in found for node in v["nodes"]]
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            lines.append(f"{wide} pixels wide")
        yield from (f"{name} in {scheme} at {width}: {line}" for line in lines)
