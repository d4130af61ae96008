"""The start page of the real JupyterLab in headless Chromium, from which playgrounds are opened and moved.

One page for all of them, as JupyterLab takes longer to load than any playground: each is opened by its link on the
start page, run by the menu, and closed. What a control does is known when the kernel has answered, not after a while.
"""

import hashlib
import re
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

from browsing import chromium, listen
from lab_server import ROOT, lab

PATIENCE = 180_000
PREFIX = "/behind/a/proxy/"
PLAYGROUNDS = ("records", "learning_rate", "two_arms", "referee", "sign", "clusters", "rules", "train_one")
PLAYGROUNDS += ("odd_picture", "own_statistic")
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"
PICTURE = f"{SHOWN} img.widget-image"
IDLE = re.compile(rb'"execution_state": ?"idle"')


class Wire:
    """What goes between a page and its kernels: how many controls wait for an answer, and how many pictures came."""

    def __init__(self, page):
        self.sent = self.answered = self.pictures = 0
        page.on("websocket", self.tap)

    def tap(self, socket):
        socket.on("framesent", self.out)
        socket.on("framereceived", self.back)

    def out(self, frame):
        self.sent += b'"comm_msg"' in octets(frame)

    def back(self, frame):
        frame = octets(frame)
        self.answered += b'"comm_msg"' in frame and IDLE.search(frame) is not None
        self.pictures += b'"comm_msg"' in frame and b"\x89PNG" in frame


def octets(frame):
    return frame.encode() if isinstance(frame, str) else frame


class Desk:
    """A page with the lab's start page in it, from which playgrounds are opened."""

    def __init__(self, page, complaints):
        self.page, self.complaints, self.wire = page, complaints, Wire(page)
        self.ran, self.responses = 0.0, []  # seconds: to run a notebook last, to answer each control
        cells = (ROOT / "notebooks" / "playground" / "start.ipynb").read_text()
        self.links = {
            name: text for text, name in re.findall(r'\[([^]["]+)\]\([./]+notebooks/playground/(\w+)\.ipynb\)', cells)
        }

    @contextmanager
    def playground(self, name):
        """Open a playground by its link and run it; save and close it at the end."""
        with self.page.expect_websocket(lambda socket: "/api/kernels/" in socket.url):
            self.page.click(f'{SHOWN} .jp-RenderedMarkdown a:text-is("{self.links[name]}")')
        self.page.wait_for_selector(f'.lm-TabBar-tab.jp-mod-current:has-text("{name}.ipynb")')
        self.run_all()
        yield self
        with self.page.expect_response(lambda r: r.request.method == "PUT" and f"{name}.ipynb?" in r.url):
            self.choose("File", "Save Notebook")
        self.choose("File", "Close and Shut Down Notebook…")
        self.page.click(".jp-Dialog .jp-mod-accept")
        self.page.wait_for_selector('.lm-TabBar-tab.jp-mod-current:has-text("start.ipynb")')

    def choose(self, menu, item):
        self.page.click(f'.lm-MenuBar-itemLabel:text-is("{menu}")')
        self.page.click(f'.lm-Menu-itemLabel:text-is("{item}")')

    def run_all(self, *, restart=False):
        """Use the menu, as people do, once the kernel is there."""
        self.page.wait_for_selector('text="Python 3 (ipykernel) | Idle"')
        began = time.perf_counter()
        self.choose("Run", "Restart Kernel and Run All Cells…" if restart else "Run All Cells")
        if restart:
            self.page.click('.jp-Dialog button:has-text("Restart")')
            self.page.wait_for_selector(PICTURE, state="detached")
        self.page.wait_for_selector(PICTURE)
        self.ran = time.perf_counter() - began

    @property
    def panels(self):
        """The playgrounds of the notebook: their boxes, in which controls stand above a picture."""
        return self.page.locator(f"{SHOWN} .jupyter-widgets.widget-vbox:has(> img.widget-image)")

    def seen(self, number):
        """The bytes of a picture, by their hash."""
        script = "async n => Array.from(new Uint8Array(await (await fetch(n.src)).arrayBuffer()))"
        return hashlib.sha256(bytes(self.page.locator(PICTURE).nth(number).evaluate(script))).hexdigest()

    def moved(self, number, act):
        """Whether a picture becomes another; known when the kernel has answered everything that was sent."""
        picture, wire = self.page.locator(PICTURE).nth(number), self.wire
        before, sent, pictures = picture.get_attribute("src"), wire.sent, wire.pictures
        began = time.perf_counter()
        act()
        self.wait(lambda: wire.sent > sent, 3.0)  # nothing is sent where a slider was at its end
        self.wait(lambda: wire.answered >= wire.sent, PATIENCE / 1000)
        if wire.pictures == pictures:
            return False
        self.page.wait_for_function(
            "([query, number, before]) => document.querySelectorAll(query)[number].src !== before",
            arg=[PICTURE, number, before],
        )
        self.responses.append(time.perf_counter() - began)
        return True

    def wait(self, happened, seconds):
        end = time.monotonic() + seconds
        while not happened() and time.monotonic() < end:
            self.page.wait_for_timeout(10)

    def move_everything(self, *, undo):
        """Move every control of every panel; return those that moved no picture.

        With ``undo`` each is put back, where one setting can leave the others nothing to decide.
        """
        still = []
        for number in range(self.panels.count()):
            for name, tries in moves(self.panels.nth(number)):
                for act, back in tries:
                    if self.moved(number, act):
                        if undo:
                            self.moved(number, back)
                        break
                else:
                    still.append(f"panel {number}, {name}")
        return still


def moves(panel):
    """How each control can be moved and put back; from the last list, which depends on those before it."""
    for number in reversed(range(panel.locator("select").count())):
        select = panel.locator("select").nth(number)
        now, count = select.evaluate("n => n.selectedIndex"), select.locator("option").count()
        others = [(now + k) % count for k in range(1, min(count, 4))]
        back = partial_select(select, now)
        if others:
            yield f"list {number}", [(partial_select(select, k), back) for k in others]
    for number in range(panel.locator(".noUi-handle").count()):
        handle = panel.locator(".noUi-handle").nth(number)
        at_end = handle.evaluate("n => n.ariaValueNow === n.ariaValueMax")
        keys = ("ArrowLeft", "ArrowRight") if at_end else ("ArrowRight", "ArrowLeft")
        there, back = ((lambda key=key, h=handle: h.press(key)) for key in keys)
        yield f"slider {number}", [(there, back), (there, back)]
    for number in range(panel.locator("input[type=checkbox]").count()):
        click = panel.locator("input[type=checkbox]").nth(number).click
        yield f"switch {number}", [(click, click)]


def partial_select(select, index):
    return lambda: select.select_option(index=index)


@contextmanager
def start_page(folder):
    """Open the lab's start page as its printed address leads to it; its complaints are the desk's."""
    complaints = []
    with lab(folder, prefix=PREFIX) as address, chromium(PATIENCE) as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1300})
        page.set_default_timeout(PATIENCE)
        host = f"://{urlsplit(address).netloc}{PREFIX}"
        listen(page, ("data:", "blob:", f"http{host}", f"ws{host}"), complaints)
        desk = Desk(page, complaints)
        page.goto(address)
        page.wait_for_selector(".jp-NotebookPanel .jp-RenderedImage img")
        yield desk
