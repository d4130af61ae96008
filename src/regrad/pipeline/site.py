"""The HTML site: every executed notebook, and an index with the ledger and the figures."""

import re
from pathlib import Path
from typing import Any

import bleach
import nbformat
from bleach.sanitizer import ALLOWED_TAGS
from jinja2 import Environment, PackageLoader
from nbconvert import HTMLExporter

from regrad.atomic import write_atomically

# What notebook cells may contain in the site; everything else is shown as text.
TAGS = {"h1", "h2", "h3", "h4", "p", "pre", "br", "hr", "div", "span", "table", "thead", "tbody", "tr", "th", "td"}
STYLE = re.compile(r"<style.*?</style>", re.S)
NO_REQUESTS = {"mathjax_url": "", "require_js_url": "", "jquery_url": "", "mermaid_js_url": ""}


def clean(html: str | bytes) -> str:
    """Return HTML without scripts, styles, handlers and unknown tags; nbconvert's own filter escapes even headings."""
    text = html.decode() if isinstance(html, bytes) else str(html)
    return bleach.clean(STYLE.sub("", text), tags=TAGS | ALLOWED_TAGS, attributes={"*": ["class"], "a": ["href"]})


def notebook_html(path: Path, title: str) -> str:
    """Return an executed notebook as one HTML page: sanitized, without requests to other hosts."""
    exporter = HTMLExporter(sanitize_html=True, embed_images=True, **NO_REQUESTS)
    exporter.register_filter("clean_html", clean)
    notebook = nbformat.read(path, as_version=4)
    body = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})[0]
    return body.replace("<main>", '<p style="margin:1em"><a href="index.html">regrad: all verdicts</a></p><main>', 1)


def title_of(notebook: nbformat.NotebookNode) -> str:
    """Return the first heading of a notebook."""
    for cell in notebook.cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return "notebook"


def pictures(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the PNG outputs of a notebook, base64-encoded."""
    outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
    return [o.data["image/png"].strip() for o in outputs if "image/png" in o.get("data", {})]


def build(executed: list[Path], site: Path, *, claims: list[dict[str, Any]], facts: dict[str, str]) -> list[Path]:
    """Write the site and return its pages.

    Args:
        executed: Executed notebooks, in the order of the report.
        site: Folder to write to.
        claims: Entries of ``results/claims.json``.
        facts: What the header says: preset, device, commit.
    """
    pages, chapters = [], []
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        page = site / f"{path.stem}.html"
        title = title_of(notebook)
        write_atomically(page, notebook_html(path, title).encode())
        pages.append(page)
        chapters.append({"href": page.name, "title": title, "pictures": pictures(notebook)})
    environment = Environment(loader=PackageLoader("regrad.pipeline"), autoescape=True)
    body = environment.get_template("index.html").render(chapters=chapters, claims=claims, facts=facts)
    index = site / "index.html"
    write_atomically(index, body.encode())
    return [*pages, index]
