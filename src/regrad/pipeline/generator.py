"""Sphinx on a folder of pages, in a process of its own: it reads the source and imports none of it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from regrad.pipeline.folders import Folders

TEMPLATES = Path(__file__).parent / "templates"
NEEDED = ("sphinx", "furo", "myst_parser", "autoapi")
INCLUDED = ("per_example.md", "messages.md")  # pages of docs/ that pages of the manual hold
OURS = ("_images", "_static", "code", "figures", "manual", "records")  # folders in which nothing else lies
UNREAD = (".buildinfo*", "objects.inv", "_sources")  # for other programs than a browser


class SiteError(RuntimeError):
    """Sphinx complained; the message is its first line."""


def missing() -> list[str]:
    """Return the packages that the site needs and that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def inputs(folders: Folders) -> list[Path]:
    """Return what the manual and the look of all pages are made from."""
    docs, package = folders.root / "docs", folders.root / "src" / "regrad"
    pages = [p for p in (docs / "manual").rglob("*") if p.suffix in (".md", ".svg")]
    library = [p for part in ("optim", "perexample", "scaling", "transforms") for p in (package / part).rglob("*.py")]
    examples = (folders.root / "examples").glob("*.py")
    look = [p for p in TEMPLATES.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    return sorted([*pages, *(docs / name for name in INCLUDED), *library, *examples, *look])


@contextmanager
def workplace(folders: Folders | None) -> Iterator[tuple[Path, Path]]:
    """Make a folder for pages, the checkout's manual in it, and one for what Sphinx makes of them."""
    with tempfile.TemporaryDirectory(prefix="regrad-site-") as name:
        source, made = Path(name) / "pages", Path(name) / "site"
        source.mkdir()
        # Its pages name their neighbours in docs/ and the examples by where they lie in the checkout.
        if folders and (folders.root / "docs" / "manual").is_dir():
            shutil.copytree(folders.root / "docs" / "manual", source / "manual")
            shutil.copytree(folders.root / "examples", source.parent / "examples")
            for name in INCLUDED:
                shutil.copy(folders.root / "docs" / name, source)
        yield source, made


def run(source: Path, made: Path, site: Path, given: Mapping[str, Any]) -> list[Path]:
    """Make pages of a folder; they take the place of an earlier site. Return the site's files.

    Args:
        source: The pages, as Markdown.
        made: Holds the files that pages lead to.
        site: Where to.
        given: What ``templates/conf.py`` knows beside the pages: facts, claims, colours.

    Raises:
        SiteError: If a page has a mistake; the earlier site stays.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(TEMPLATES)]
    command += ["-d", str(source.parent / "trees"), str(source), str(made)]
    (source / "given.json").write_text(json.dumps(given), encoding="utf-8")
    environment = os.environ | {"REGRAD_SITE": str(source), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SiteError((done.stderr.strip().splitlines() or ["Sphinx failed"])[0])
    for name in OURS:
        shutil.rmtree(site / name, ignore_errors=True)
    shutil.copytree(made, site, ignore=shutil.ignore_patterns(*UNREAD), dirs_exist_ok=True)
    files = [path for path in made.rglob("*") if path.is_file()]
    return sorted(there for path in files if (there := site / path.relative_to(made)).is_file())
