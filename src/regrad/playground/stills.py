"""Playgrounds as they stand before anybody moves anything: executed notebooks, for the site.

    python -m regrad.playground.stills FOLDER notebooks/playground/sign.ipynb …

No kernel: their cells are short, and what a cell ends with is what it shows. ``results/reference/playground/`` holds
those that compute with torch; the others read records, and are drawn wherever the site is made.
"""

import ast
import base64
import os
import sys
from pathlib import Path
from typing import Any

import nbformat


def shown(source: str, space: dict[str, Any]) -> Any:
    """Execute a cell and return what it ends with; None where that is no expression."""
    tree = ast.parse(source)
    last = tree.body.pop()
    if not isinstance(last, ast.Expr):
        tree.body.append(last)
    exec(compile(tree, "cell", "exec"), space)  # noqa: S102 # nosec B102 - of this repository
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), space)  # noqa: S307 # nosec B307


def bundle(value: Any) -> dict[str, Any]:
    """Return what a notebook shows of a value: its picture and the text under it."""
    if hasattr(value, "_repr_mimebundle_"):
        return value._repr_mimebundle_()
    return {"image/png": value._repr_png_()[0]} if hasattr(value, "_repr_png_") else {"text/plain": repr(value)}


def still(path: Path) -> nbformat.NotebookNode:
    """Return a playground with the figures of its starting values."""
    notebook, space = nbformat.read(path, as_version=4), {"__name__": "still"}
    before = Path.cwd()
    os.chdir(path.parent)  # as a kernel's
    try:
        for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
            cell.execution_count = number
            if (value := shown(cell.source, space)) is not None:
                data = bundle(value)
                if "image/png" in data:
                    data["image/png"] = base64.b64encode(data["image/png"]).decode()
                cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
    finally:
        os.chdir(before)
    return notebook


def main(folder: str, *paths: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in map(Path, paths):
        (Path(folder) / path.name).write_text(nbformat.writes(still(path)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
