"""The manual: Sphinx, because it reads docstrings from the source (autoapi: nothing is imported), takes the tables and
references that they hold as they are, and its furo theme is readable without JavaScript, on a phone and in the dark.

    python -m sphinx -W docs/manual site/manual
"""

import json
import os
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHAPES = {
    "reproduced": "●",
    "not reproduced": "✕",
    "inconclusive": "◐",
    "not tested": "○",
    "refuted by construction": "■",
}

project = "regrad"
author = "The regrad authors"
copyright = author  # noqa: A001 - Sphinx's name for it
html_title = "regrad: the manual"
version = release = re.search(r'__version__ = "(.+)"', (ROOT / "src/regrad/__init__.py").read_text())[1]

extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension"]
exclude_patterns = ["_build"]
default_role = "literal"
myst_heading_anchors = 3
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_custom_sections = [("Departures", "notes_style"), ("Source", "notes_style")]
suppress_warnings = ["autoapi", "myst.header", "misc.highlighting_failure", "ref.python", "docutils"]

autoapi_dirs = [str(ROOT / "src" / "regrad")]
autoapi_root, autoapi_add_toctree_entry = "api", False
autoapi_options = ["members", "show-module-summary"]
# The modules that one imports from, and no other: each page costs a second, and the rest is read in the source.
PUBLIC = ("optim/sgg", "optim/micro_adam", "optim/sign_sgd", "optim/dgs", "scaling/alsdgc", "perexample/engine",
          "perexample/tokens", "perexample/requests", "perexample/rules/registry", "perexample/checking",
          "transforms/clip_statistics")  # fmt: skip
modules = {p for p in (ROOT / "src" / "regrad").rglob("*.py") if p.name != "__init__.py"}
autoapi_ignore = [str(p) for p in sorted(modules) if not str(p.with_suffix("")).endswith(PUBLIC)]
autoapi_ignore += [
    str(p)
    for p in (ROOT / "src" / "regrad").rglob("__init__.py")
    if p.parts[-2] not in ("regrad", "optim", "scaling", "perexample", "rules", "transforms")
]

html_theme = "furo"
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_show_search_summary = False  # it fetches pages, which a browser forbids where the site is read from a disk
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_static_path: list[str] = []


def verdicts(study: str) -> str:
    """Return a table of the computed verdicts of a study's claims, as Markdown; one sentence where there are none."""
    path = Path(os.environ.get("REGRAD_CLAIMS", ROOT / "results" / "claims.json"))
    if not path.is_file():
        return "*No verdicts have been computed in this checkout: `./reproduce.sh --from-reference` does it.*"
    claims = [c for c in json.loads(path.read_text())["claims"] if c["study"] == study]
    rows = ["| claim | verdict |", "|---|---|"]
    for claim in claims:
        sentence = claim["sentence"].replace("|", "\\|")
        rows.append(f"| {sentence} | {SHAPES.get(claim['verdict'], '')} {claim['verdict']} |")
    return "\n".join(rows)


def read(app, name, source) -> None:
    """Put verdicts where a page asks for them, and make words of links that lead out of the manual."""
    text = re.sub(r"<!-- verdicts: ([\w-]+) -->", lambda match: verdicts(match[1]), source[0])
    source[0] = text


def included(app, path, parent, content) -> None:
    """Turn links of included pages of docs/ into words where they lead to files that the manual does not hold."""
    content[0] = re.sub(r"\[([^\]]+)\]\((?!https?:|#)[^)]*\)", r"\1", content[0])


def starred(app, what, name, object_, options, lines) -> None:
    """Escape the stars of [*param] and `θ *= 1`, and the bars of |g|: docstrings mean no mark-up by them."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"(?<=[\[ ])\*(?=\w+\]|\w+,|= )|\|(?=\w)", r"\\\g<0>", part) for part in parts[::2]]
        lines[number] = "`".join(parts)


def finished(app, error) -> None:
    """Take the one link that leads out of the site from the theme's last line."""
    for page in Path(app.outdir).rglob("*.html") if error is None else ():
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r'<a href="https://github.com/pradyunsg/furo">(.*?)</a>', r"\1", text), encoding="utf-8")


def setup(app) -> None:
    app.connect("autodoc-process-docstring", starred)
    app.connect("build-finished", finished)
    app.connect("source-read", read)
    app.connect("include-read", included)
