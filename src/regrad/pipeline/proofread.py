"""What a stranger would stumble over in the typeset report and on the built site.

Each function returns complaints, a line each; none is good. Poppler reads the PDF, whose
letters it measures in whole thirds of a point.
"""

import html
import re
import subprocess
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from regrad.report import words

SMALLEST = 7.0  # points
APPENDIX = "A dozen words"  # heading of the first appendix
LEDGER = "Ledger of verdicts"  # of the first that is keys
TEST = re.compile(r"tests/\w+|::\s?test_\w+|\btest_[a-z]+_[a-z_]+")
# Keys that no sentence has by chance: with a sign in them, or a letter and a number (V0, E1L, clip-1, resnet20).
KEYS = tuple(
    dict.fromkeys(k for k in (*words.ARMS, *words.LABELS) if re.search(r"[_@=~:+/]|-r?\d+$|^[A-Z]\d[A-Z]?$", k))
)
# What is nobody's word whether the map knows it or not: names of code, and settings.
CODE = re.compile(r"(?<![\w./_-])[a-z]+(?:_[a-z\d]+)+(?![\w(])|(?<![\w./_-])[a-z]\w+=[\w.]+")
# What only the ledger calls a claim or a proof (C4b, SGG-C1, T3; C4 alone may be the corpus); markup that nothing set.
CLAIM = re.compile(r"(?<![\w-])(?:[A-Z]+-)?(?!C4\b)(?:[CDZ]\d{1,2}[a-z]{0,2}|T\d)(?![\w.])")
MARKUP = re.compile(r"\w\^\w+|\bgbar")
LINK = re.compile(r"""<[a-z][^<>]*?\s(?:href|src|srcset)=["']([^"']*)["']""")
NAMED = re.compile(r"""<[a-z][^<>]*?\s(?:id|name)=["']([^"']+)["']""")
OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//|^(?:https?|mailto):", re.I)
LOADED = re.compile(r"""(?:url\(|@import )\s*["']?((?:https?:)?//[^"')\s]+)""", re.I)

NAMES = ("code/", "records/", "manual/api/", "manual/reference")
BARE = ("index.html", "figures.html", "report.html", "notebooks.html")
LETTER = re.compile(r"'[A-Z]\d[A-Z]?'$")


class Word(NamedTuple):
    """A word of a page and where it stands, in points from the top left."""

    text: str
    left: float
    top: float


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout


def pages(pdf: Path) -> list[str]:
    """Return the text of each page."""
    return run("pdftotext", str(pdf), "-").split("\f")[:-1]


def main_text(texts: list[str]) -> list[str]:
    """Return the pages before the appendix."""
    return before(texts, APPENDIX)


def prose(texts: list[str]) -> list[str]:
    """Return the pages before the ledger."""
    return before(texts, LEDGER)


def before(texts: list[str], title: str) -> list[str]:
    """Return the pages before a section of the appendix; its letter may stand elsewhere in the text of its page."""
    heading = re.compile(rf"^(?:[A-Z]\s+)?{title}$", re.M)
    return texts[: next((n for n, text in enumerate(texts) if heading.search(text)), len(texts))]


def claim_keys(texts: Iterable[str]) -> list[str]:
    """Complain about keys of the ledger and about markup that nothing has set, in pages for readers."""
    complaints = []
    for page, text in enumerate(texts, start=1):
        found = dict.fromkeys([*CLAIM.findall(text), *MARKUP.findall(text)])
        complaints += [f"page {page}: key or markup {name!r}" for name in found]
    return complaints


def codes_in(text: str) -> list[str]:
    """Return the keys of code and the names of tests that stand in a text for readers."""
    flat = re.sub(r"\s+", " ", text)
    keys = [key for key in KEYS if re.search(rf"(?<![\w+@=~:/.]){re.escape(key)}(?![\w+@=~:/])", flat)]
    tests = TEST.findall(flat)
    others = [name for name in dict.fromkeys(CODE.findall(TEST.sub("", flat))) if name not in keys]
    return [*(f"code key {key!r}" for key in (*keys, *others)), *(f"test id {name!r}" for name in tests)]


def codes(texts: Iterable[str]) -> list[str]:
    return [f"page {n}: {found}" for n, text in enumerate(texts, start=1) for found in codes_in(text)]


def words_of(pdf: Path, page: int) -> tuple[list[Word], float, float]:
    """Return the words of a page, its width and its height."""
    text = run("pdftotext", "-bbox", "-f", str(page), "-l", str(page), str(pdf), "-")
    size = re.search(r'<page width="([\d.]+)" height="([\d.]+)"', text)
    assert size is not None
    found = re.findall(r'<word xMin="([\d.]+)" yMin="([\d.]+)"[^>]*>(.*?)</word>', text)
    return [Word(html.unescape(w), float(x), float(y)) for x, y, w in found], float(size[1]), float(size[2])


def empty_pages(pdf: Path, last: int) -> list[str]:
    """Complain about pages up to ``last`` whose right column ends in its upper third."""
    complaints = []
    for page in range(1, last + 1):
        found, width, height = words_of(pdf, page)
        # The page's own number stands in the middle at the foot.
        said = [word for word in found if not (word.text.isdigit() and word.top > 0.8 * height)]
        column = [word.top for word in said if word.left > width / 2]
        if max(column, default=0.0) < height / 3:
            complaints.append(f"page {page}: its last column is under a third full")
    return complaints


def far_figures(texts: list[str]) -> list[str]:
    """Complain about figures that stand more than a page from where the text first names them."""
    complaints = []
    captions = {m[1]: n for n, text in enumerate(texts, start=1) for m in re.finditer(r"^Figure (\d+):", text, re.M)}
    for number, place in captions.items():
        name = re.compile(rf"Figures?\s+(?:\d+\s+and\s+)?{number}\b(?!:)")
        named = next((n for n, text in enumerate(texts, start=1) if name.search(text)), None)
        if named is None:
            complaints.append(f"figure {number}: the main text never names it")
        elif abs(named - place) > 1:
            complaints.append(f"figure {number}: on page {place}, first named on page {named}")
    return complaints


def small_text(pdf: Path) -> list[str]:
    """Complain about words of letters below seven points; a formula's indices are smaller by nature."""
    text = run("pdftohtml", "-xml", "-i", "-stdout", "-zoom", "3", str(pdf))
    sizes = {name: float(size) / 3 for name, size in re.findall(r'<fontspec id="(\d+)" size="(-?\d+)"', text)}
    complaints = []
    for page, body in enumerate(text.split("<page ")[1:], start=1):
        for font, said in re.findall(r'<text [^>]*font="(\d+)">(.*?)</text>', body):
            plain = re.sub(r"<[^>]*>", "", said)
            if sizes[font] < SMALLEST - 0.4 and re.search(r"[A-Za-z]{4,}|\d\.\d\d", plain):
                complaints.append(f"page {page}: {sizes[font]:g} pt: {plain[:40]}")
    return complaints


def missing_sentences(texts: Iterable[str], claims: Iterable[Mapping[str, str]]) -> list[str]:
    """Complain about claims whose sentence the report does not print."""
    flat = squeezed(" ".join(texts))
    return [f"claim {row['id']}: without its sentence" for row in claims if squeezed(row["sentence"]) not in flat]


def squeezed(text: str) -> str:
    """Return a text's letters and digits: what line breaks, ligatures and hyphens leave alone."""
    for ligature, letters in {"ﬁ": "fi", "ﬂ": "fl", "ﬀ": "ff", "ﬃ": "ffi", "ﬄ": "ffl"}.items():
        text = text.replace(ligature, letters)
    return re.sub(r"[^A-Za-z0-9]", "", text)


def links(site: Path) -> list[str]:
    """Complain about links of a site that lead nowhere or out of it, and about what its styles load from elsewhere."""
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(site.rglob("*.html"))}
    names = {page.resolve(): {html.unescape(name) for name in NAMED.findall(text)} for page, text in texts.items()}
    complaints = []
    for page, text in texts.items():
        where = page.relative_to(site).as_posix()
        for target in dict.fromkeys(LINK.findall(text)):
            name, _, part = html.unescape(target).partition("#")
            there = (page.parent / name.partition("?")[0]).resolve() if name else page.resolve()
            if target.startswith("data:"):
                continue
            if OUTSIDE.match(target) or not there.is_relative_to(site.resolve()):
                complaints.append(f"{where}: {target} leads out of the site")
            elif not there.exists():
                complaints.append(f"{where}: {target} is not there")
            elif part and unquote(part) not in names.get(there, {unquote(part)}):
                complaints.append(f"{where}: {target} names no place of that page")
    styled = texts | {page: page.read_text(encoding="utf-8") for page in sorted(site.rglob("*.css"))}
    for page, text in styled.items():
        where = page.relative_to(site).as_posix()
        complaints += [f"{where}: {target} is loaded from outside" for target in dict.fromkeys(LOADED.findall(text))]
    return complaints


class Prose(HTMLParser):
    """The words of a page's article: what is set as code, a picture's description or a table of data is none."""

    CODE, VOID = ("code", "pre", "script", "style"), ("br", "hr", "img", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[bool] = []  # the elements around a word: whether one is no prose
        self.words: list[str] = []
        self.feed("".join(re.findall(r"<article.*</article>", page, re.S)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            data = "dataframe" in (dict(attrs).get("class") or "").split()
            self.open.append(data or tag in self.CODE or bool(self.open and self.open[-1]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self.open:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1]):
            self.words.append(data)


def site(folder: Path) -> list[str]:
    """Return every complaint about the built site; pages of code, records and reference say names as they are.

    A letter for an algorithm (V0, E1L) is left to the pages that say what it stands for: notebooks and the manual.
    """
    complaints = links(folder)
    for page in sorted(folder.rglob("*.html")):
        name = page.relative_to(folder).as_posix()
        if not name.startswith(NAMES):
            found = codes_in(" ".join(Prose(page.read_text(encoding="utf-8")).words))
            complaints += [f"{name}: {one}" for one in found if name in BARE or not LETTER.search(one)]
    return complaints


def report(pdf: Path, claims: Iterable[Mapping[str, str]]) -> list[str]:
    """Return every complaint about the report."""
    texts = pages(pdf)
    body = main_text(texts)
    said = codes(body) + claim_keys(prose(texts))
    seen = empty_pages(pdf, len(body)) + far_figures(body) + small_text(pdf)
    return [*said, *seen, *missing_sentences(texts, claims)]
