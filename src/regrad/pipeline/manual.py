"""The manual: Sphinx on ``docs/manual``, in a process of its own; it reads the source and imports none of it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from regrad.pipeline.folders import Folders

NEEDED = ("sphinx", "furo", "myst_parser", "autoapi")


class ManualError(Exception):
    """Sphinx complained; the message is its first line."""


def inputs(folders: Folders) -> list[Path]:
    """Return what the manual is made from; nothing in a checkout that has none."""
    docs = folders.root / "docs"
    if not (docs / "manual" / "conf.py").is_file():
        return []
    pages = [p for p in (docs / "manual").rglob("*") if p.suffix in (".md", ".py", ".svg") and "api" not in p.parts]
    library = [p for part in ("optim", "perexample", "scaling", "transforms")
               for p in (folders.root / "src" / "regrad" / part).rglob("*.py")]  # fmt: skip
    examples = (folders.root / "examples").glob("*.py")
    return sorted([*pages, docs / "per_example.md", docs / "messages.md", *library, *examples])


def missing() -> list[str]:
    """Return the packages that the manual needs and that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def build(folders: Folders) -> list[Path]:
    """Write the manual into ``site/manual``; return its pages.

    Raises:
        ManualError: If a page has a mistake: a broken link, a directive that does not exist.
    """
    source, target = folders.root / "docs" / "manual", folders.site / "manual"
    doctrees = folders.state.parent / "manual"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        str(doctrees),
        str(source),
        str(target),
    ]
    environment = os.environ | {"REGRAD_CLAIMS": str(folders.claims)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ManualError((done.stderr.strip().splitlines() or ["Sphinx failed"])[0])
    return sorted(p for p in target.rglob("*") if p.suffix in (".html", ".js") and p.is_file())
