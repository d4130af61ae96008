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
# Returns serious violations as lines. A look is what an element and those around it have of colour, size and place.
FOUND = """async shapes => {
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));  // until what follows a resize has run
  const options = {resultTypes: ["violations"], preload: false};
  const looks = new Map(), names = new Map(), counts = new Map(), kept = [];
  const name = node => {
    if (!node) { return 0; }
    if (!looks.has(node)) {
      const style = getComputedStyle(node), above = name(node.parentElement);
      const key = [above, style.color, style.backgroundColor, style.backgroundImage, style.opacity, style.fontSize,
                   style.fontWeight, style.textShadow, style.position].join(" ");
      if (!names.has(key)) { names.set(key, names.size + 1); }
      looks.set(node, names.get(key));
    }
    return looks.get(node);
  };
  for (const node of document.body.querySelectorAll("*")) {
    const said = [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (said && node.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true})) {
      const look = name(node), count = counts.get(look) || 0;
      if (count < 3) { kept.push(node); }
      counts.set(look, count + 1);
    }
  }
  const runs = [await axe.run({include: kept}, {...options, runOnly: ["color-contrast", "link-in-text-block"]})];
  if (shapes) { runs.push(await axe.run(document, {...options, rules: {"color-contrast": {enabled: false}}})); }
  return runs.flatMap(run => run.violations).filter(found => ["serious", "critical"].includes(found.impact))
    .flatMap(found => found.nodes.map(node => `${found.id}: ${node.html.slice(0, 90)}`));
}"""


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


def barriers(page, address, name):
    """What keeps readers of a page out: its width in every look, and axe's rules held against it in every look.

    Contrast takes axe nine tenths of its time: it sees a few of all elements with one look. Colours apart, no rule
    depends on the scheme.
    """
    from axe_playwright_python.base import AXE_SCRIPT

    page.goto(address + name)
    page.evaluate(AXE_SCRIPT)
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        lines = page.evaluate(FOUND, scheme == "light")
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            lines.append(f"{wide} pixels wide")
        yield from (f"{name} in {scheme} at {width}: {line}" for line in lines)
