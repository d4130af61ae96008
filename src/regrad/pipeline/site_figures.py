"""Which figure an executed notebook's picture is, and which function drew it: read from the cells, not run."""

import ast
import base64
import binascii
import struct
from typing import NamedTuple

import nbformat

from regrad.fingerprint import module_path

PNG = b"\x89PNG\r\n\x1a\n"


class Shown(NamedTuple):
    """A picture that a notebook shows.

    Attributes:
        name: What the exporter calls it; the notebook's name and a number for another picture.
        png: Its bytes.
        module: Module of the function that drew it; empty if unknown.
        function: Name of that function.
        size: Width and height in pixels.
    """

    name: str
    png: bytes
    module: str
    function: str
    size: tuple[int, int]


def parsed(source: str) -> ast.Module:
    """Return a cell's syntax tree; an empty one for a cell that is not plain Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def aliases(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Return what a notebook's imported names stand for, as dotted names."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        for node in ast.walk(parsed(cell.source)) if cell.cell_type == "code" else ():
            if isinstance(node, ast.Import):
                found |= {a.asname: a.name for a in node.names if a.asname}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def drawn_by(call: ast.Call, names: dict[str, str]) -> tuple[str, str]:
    """Return module and function of the second argument of ``exporter.figure``; empty where it is no call of ours."""
    made = call.args[1] if len(call.args) > 1 else None
    dotted = ast.unparse(made.func) if isinstance(made, ast.Call) else ""
    first, _, rest = dotted.partition(".")
    whole = names.get(first, first) + ("." + rest if rest else "")
    module, _, function = whole.rpartition(".")
    return (module, function) if module.startswith("regrad.") and module_path(module) else ("", "")


def figure_calls(source: str, names: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return name, module and function of each ``….figure("name", …)`` in a cell, in order."""
    calls = [node for node in ast.walk(parsed(source)) if isinstance(node, ast.Call)]
    calls = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "figure" and c.args]
    found = []
    for call in sorted(calls, key=lambda c: (c.lineno, c.col_offset)):
        first = call.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            found.append((first.value, *drawn_by(call, names)))
    return found


def decoded(output: nbformat.NotebookNode) -> bytes | None:
    """Return the PNG of an output; None if there is none or it is not one."""
    data = output.get("data", {}).get("image/png")
    try:
        png = base64.b64decode("".join(str(data).split()), validate=True) if data else b""
    except (binascii.Error, ValueError):
        return None
    return png if png.startswith(PNG) and len(png) > 24 else None


def shown(notebook: nbformat.NotebookNode, stem: str) -> list[tuple[nbformat.NotebookNode, Shown]]:
    """Return the outputs of a notebook that are pictures, with what they are.

    A cell that exports more figures than it shows ends with the shown ones.
    """
    names = aliases(notebook)
    found: list[tuple[nbformat.NotebookNode, Shown]] = []
    for cell in notebook.cells:
        outputs = [(o, png) for o in cell.get("outputs", []) if (png := decoded(o))]
        known = figure_calls(cell.source, names)[-len(outputs) :] if outputs else []
        for place, (output, png) in enumerate(outputs):
            name, module, function = known[place] if place < len(known) else (f"{stem}-{len(found) + 1}", "", "")
            found.append((output, Shown(name, png, module, function, struct.unpack(">II", png[16:24]))))
    return found
