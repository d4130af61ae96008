"""The site's generator; `regrad.pipeline.generator` runs it.

Sphinx, because it reads docstrings from the source (autoapi: nothing is imported), takes the tables and references that
they hold as they are, and its furo theme is readable without JavaScript, on a phone and in the dark.
"""

import json
import os
import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
SOURCE = Path(os.environ["REGRAD_SITE"])
GIVEN = json.loads((SOURCE / "given.json").read_text(encoding="utf-8"))

project = html_title = "regrad"
author = "The regrad authors"
version = release = re.findall(r'__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text())[0]

extensions = ["myst_parser", "sphinx.ext.napoleon"]
exclude_patterns = ["per_example.md", "messages.md"]  # pages of the manual hold them
default_role = "literal"
myst_heading_anchors = 3
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_custom_sections = [("Departures", "notes_style"), ("Source", "notes_style")]
suppress_warnings = ["autoapi", "myst.header", "misc.highlighting_failure", "ref.python", "docutils"]


def stay_at_home() -> None:
    """Keep autoapi's parser from reading torch and all that it imports: 800 files, half of the site's time."""
    from astroid import AstroidImportError
    from astroid.manager import AstroidManager

    load = AstroidManager.ast_from_module_name

    def own(self, modname, *args, **kwargs):
        if modname and modname.partition(".")[0] not in {"regrad", *sys.stdlib_module_names}:
            raise AstroidImportError(modname=modname)
        return load(self, modname, *args, **kwargs)

    AstroidManager.ast_from_module_name = own


if (SOURCE / "manual").is_dir():
    extensions.append("autoapi.extension")
    stay_at_home()
autoapi_dirs = [str(PACKAGE)]
autoapi_root, autoapi_add_toctree_entry = "manual/api", False
autoapi_options = ["members", "show-module-summary"]
# The modules that one imports from, and no other: each page costs a second, and the rest is read in the source.
PUBLIC = ("optim/sgg", "optim/micro_adam", "optim/sign_sgd", "optim/dgs", "scaling/alsdgc", "perexample/engine",
          "perexample/tokens", "perexample/requests", "perexample/rules/registry", "perexample/checking",
          "transforms/clip_statistics")  # fmt: skip
PACKAGES = ("regrad", "optim", "scaling", "perexample", "rules", "transforms")
modules = sorted(PACKAGE.rglob("*.py"))
autoapi_ignore = [str(p) for p in modules if p.name != "__init__.py" and not str(p.with_suffix("")).endswith(PUBLIC)]
autoapi_ignore += [str(p) for p in modules if p.name == "__init__.py" and p.parts[-2] not in PACKAGES]

html_theme = "furo"
html_copy_source = html_show_sourcelink = html_show_sphinx = html_use_index = False
html_domain_indices = False
html_show_search_summary = False  # it fetches pages, which a browser forbids where the site is read from a disk
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_theme_options |= {f"{theme}_css_variables": colours for theme, colours in GIVEN["colours"].items()}
html_static_path, html_css_files, html_js_files = ["static"], ["site.css"], ["site.js"]
templates_path = ["look"]
html_context = {"facts": GIVEN["facts"]}


def verdicts(study: str) -> str:
    """Return a table of the verdicts computed for a study's rooms, as Markdown; one sentence where there are none."""
    rows = ["| claim | verdict | measured |", "|---|---|---|"]
    for claim in (claim for claim in GIVEN["claims"] if f"{claim['study']}_".startswith(f"{study}_")):
        sentence = claim["sentence"].replace("|", "\\|")
        link = f'<a href="../../index.html#claim-{claim["id"]}">{sentence}</a>'
        chip = f'<span class="chip {claim["slug"]}">{claim["verdict"]}</span>'
        rows.append(f"| {link} | {chip} | {claim['figures']} |")
    if len(rows) > 2:
        return "\n".join(rows)
    return "*No verdicts have been computed in this checkout: `./reproduce.sh --from-reference` does it.*"


def read(app, name, source) -> None:
    """Put verdicts where a page of the manual asks for them."""
    source[0] = re.sub(r"<!-- verdicts: ([\w-]+) -->", lambda match: verdicts(match[1]), source[0])


def included(app, path, parent, content) -> None:
    """Turn links of included pages of docs/ into words where they lead to files that the manual does not hold."""
    content[0] = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)[^)]*\)", r"\1", content[0])


def starred(app, what, name, object_, options, lines) -> None:
    """Escape the stars of [*param] and `θ *= 1`, and the bars of |g|: docstrings mean no mark-up by them."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"(?<=[\[ ])\*(?=\w+\]|\w+,|= )|\|(?=\w)", r"\\\g<0>", part) for part in parts[::2]]
        lines[number] = "`".join(parts)


def setup(app) -> None:
    app.connect("autodoc-process-docstring", starred)
    app.connect("source-read", read)
    app.connect("include-read", included)
