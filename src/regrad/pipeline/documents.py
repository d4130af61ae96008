"""What the pipeline makes last, of all that went before: the report and the site."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from regrad.fingerprint import code_fingerprint
from regrad.pipeline import generator, paper
from regrad.pipeline.folders import Folders
from regrad.pipeline.freshness import inputs_hash
from regrad.published import SET
from regrad.studies.catalogue import STUDIES

FIRST = "start"  # the playground that leads to the others
READERS = tuple(f"regrad.playground.{name}" for name in ("stills", "browser", "cards", "pairs", "rates", "referee"))
MISTAKES = (paper.PaperError, generator.SiteError)


class Made(NamedTuple):
    """What was written, and what a reader would stumble over in it."""

    files: list[Path]
    complaints: list[str]


class Document(NamedTuple):
    """Something to make from what is there."""

    name: str
    inputs: str  # a hash of all that it follows from
    lacks: str  # what keeps this machine from making it, as a sentence
    make: Callable[[], Made]


def report(folders: Folders) -> Document:
    """Return ``paper/report.pdf`` as a document; its parts are put together first."""
    paper.assemble(folders.generated)
    pdf = folders.paper / "report.pdf"  # no source, though figures are PDF too
    files = [p for p in sorted(folders.paper.rglob("*")) if p.suffix in (".tex", ".bib", ".pdf") and p != pdf]
    inputs = inputs_hash({"code": code_fingerprint("regrad.pipeline.paper")}, files)
    lacks = "" if paper.tex_is_there() else "no LaTeX here: paper/report.pdf not made, all its sources are"
    return Document("paper", inputs, lacks, lambda: Made([pdf], paper.typeset(folders.paper)))


def site(folders: Folders, claims: list[dict[str, Any]], facts: dict[str, str]) -> Document:
    """Return the HTML site as a document; the report is part of it where there is one."""
    executed = [path for t in STUDIES if (path := folders.executed / f"{t.notebook}.ipynb").exists()]
    pdf, played = folders.paper / "report.pdf", playgrounds(folders)
    exports = [p for part in ("manifest", "claims") for p in folders.generated.glob(f"{part}/*.json")]
    stills = sorted((folders.root / "results" / "reference" / "playground").glob("*.ipynb"))
    published = folders.root / "results" / "reference" / SET / "claims.json"
    sources = [*executed, folders.claims, pdf, *exports, *played, *stills, published, *generator.inputs(folders)]
    inputs = inputs_hash({"code": code_fingerprint("regrad.pipeline.site", *READERS)}, sources)
    missing = ", ".join(generator.missing())

    def make() -> Made:
        from regrad.pipeline.site import build

        with tempfile.TemporaryDirectory(prefix="regrad-playground-") as name:
            shown = draw(played, stills, Path(name))
            about = facts | ({"pdf": "report.pdf"} if pdf.exists() else {})
            return Made(build(executed, folders.site, claims=claims, facts=about, folders=folders, played=shown), [])

    return Document("site", inputs, f"no {missing} here: the site is not made" if missing else "", make)


def playgrounds(folders: Folders) -> list[Path]:
    """Return the sources of the playgrounds, the one that leads to the others first."""
    return sorted((folders.notebooks / "playground").glob("*.ipynb"), key=lambda path: (path.stem != FIRST, path.stem))


def draw(played: list[Path], stills: list[Path], folder: Path) -> tuple[Path, ...]:
    """Return the playgrounds with their figures: stills where there are, else drawn into ``folder`` from records.

    Raises:
        generator.SiteError: If one cannot be drawn.
    """
    there = {path.name: path for path in stills}
    drawn = [path for path in played if path.name not in there]
    if drawn:
        command = [sys.executable, "-m", "regrad.playground.stills", str(folder), *map(str, drawn)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise generator.SiteError((done.stderr.strip().splitlines() or ["a playground failed"])[-1])
    return tuple(there.get(path.name, folder / path.name) for path in played)
