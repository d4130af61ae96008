"""An executed notebook as HTML that runs nothing: what may stand in it is listed, all else is shown as text."""

import re
from collections.abc import Collection
from functools import partial

import bleach
import nbformat
from bleach.sanitizer import ALLOWED_TAGS
from nbconvert import HTMLExporter

TAGS = {"h1", "h2", "h3", "h4", "p", "pre", "br", "hr", "div", "span", "table", "thead", "tbody", "tr", "th", "td"}
OUTPUTS = {"text/html", "text/plain", "text/markdown"}  # pictures become figures of ours
STYLE = re.compile(r"<style.*?</style>", re.S)


def clean(html: str | bytes) -> str:
    """Return HTML without scripts, styles, handlers and unknown tags; nbconvert's own filter escapes even headings."""
    text = html.decode() if isinstance(html, bytes) else str(html)
    allowed = {"*": ["class"], "a": ["href"], "th": ["scope", "class"]}
    return bleach.clean(STYLE.sub("", text), tags=TAGS | ALLOWED_TAGS, attributes=allowed)


def title_of(notebook: nbformat.NotebookNode) -> str:
    for cell in notebook.cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return re.sub(r"<[^>]*>", "", line[2:]).strip()
    return "notebook"


def place(number: int) -> str:
    """Return the paragraph that stands for a picture until its figure takes the place."""
    return f'<p class="regrad-picture-{number}"></p>'


def harmless(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with the listed kinds of output only, and without metadata: templates print it as it is."""
    notebook.metadata = nbformat.NotebookNode()
    tags = [set(cell.metadata.get("tags", ())) for cell in notebook.cells]
    if any("injected-parameters" in some for some in tags):  # the values it ran with: the defaults contradict them
        notebook.cells = [cell for cell, some in zip(notebook.cells, tags, strict=True) if "parameters" not in some]
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.NotebookNode()
        cell.pop("attachments", None)
        for item in [cell, *cell.get("outputs", [])]:
            if not isinstance(item.get("execution_count", 0), int):
                item.execution_count = None
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = nbformat.NotebookNode({k: v for k, v in output.data.items() if k in OUTPUTS})
                output.metadata = nbformat.NotebookNode()
    return notebook


def body(
    notebook: nbformat.NotebookNode, pictures: list[nbformat.NotebookNode], figures: list[str], pages: Collection[str]
) -> str:
    """Return the cells of an executed notebook as HTML; changes the notebook.

    Args:
        notebook: Its heading is the page's, and left out.
        pictures: Outputs that are pictures.
        figures: HTML in their place.
        pages: Stems of notebooks with a page; a link to another file is words.
    """
    for number, output in enumerate(pictures):
        output.data = nbformat.NotebookNode({"text/html": place(number)})
    exporter = HTMLExporter(template_name="basic", sanitize_html=True, exclude_anchor_links=True)
    exporter.register_filter("clean_html", clean)
    html = exporter.from_notebook_node(harmless(notebook))[0]
    html = re.sub(r"<h1[^>]*>.*?</h1>", "", html, count=1, flags=re.S)
    html = re.sub(r'<a href="(?!#|https?:)([^"]*)">(.*?)</a>', partial(linked, pages), html, flags=re.S)
    for number, figure in enumerate(figures):
        before, _, after = html.partition(place(number))
        html = before + figure + after
    return html


def linked(pages: Collection[str], link: re.Match[str]) -> str:
    """Return a link to a notebook as one to its page, and words where it has none."""
    name = link[1].rpartition("/")[2].removesuffix(".ipynb")
    return f'<a href="{name}.html">{link[2]}</a>' if name in pages else link[2]
