"""The HTML site: every executed notebook, and an index with the ledger and the figures."""

from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, PackageLoader
from nbconvert import HTMLExporter

from regrad.store import write_atomically


def notebook_html(path: Path) -> str:
    """Return an executed notebook as one HTML page: sanitized, without requests to other hosts."""
    exporter = HTMLExporter(sanitize_html=True, embed_images=True, mathjax_url="", require_js_url="", jquery_url="")
    return exporter.from_filename(str(path))[0]


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
        write_atomically(page, notebook_html(path).encode())
        pages.append(page)
        chapters.append({"href": page.name, "title": title_of(notebook), "pictures": pictures(notebook)})
    environment = Environment(loader=PackageLoader("regrad.pipeline"), autoescape=True)
    body = environment.get_template("index.html").render(chapters=chapters, claims=claims, facts=facts)
    index = site / "index.html"
    write_atomically(index, body.encode())
    return [*pages, index]
