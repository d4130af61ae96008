"""Headless Chromium, and pages in it that complain of nothing and ask no other host."""

import shutil
from contextlib import contextmanager

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]


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
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(own) else complaints.append(f"request: {r.url}"))
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert complaints == []
