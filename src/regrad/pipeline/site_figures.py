"""The pictures in an executed notebook; the exporter's say in their outputs which figures they are."""

import base64
import binascii
import struct
from typing import NamedTuple

import nbformat

from regrad.report.manifest import NAME

PNG = b"\x89PNG\r\n\x1a\n"


class Shown(NamedTuple):
    """A picture that a notebook shows."""

    name: str  # what the exporter calls it; the notebook's name and a number for another picture
    png: bytes
    size: tuple[int, int]  # width and height in pixels


def decoded(output: nbformat.NotebookNode) -> bytes | None:
    """Return the PNG of an output; None if there is none or it is not one."""
    data = output.get("data", {}).get("image/png")
    try:
        # Validated: notebooks come from anywhere, and Python's decoder skips what it does not know.
        png = base64.b64decode("".join(str(data).split()), validate=True) if data else b""
    except (binascii.Error, ValueError):
        return None
    return png if png.startswith(PNG) and len(png) > 24 else None


def figure_name(output: nbformat.NotebookNode) -> str:
    """Return the name that `regrad.report.export.Picture` gave an output; empty for any other picture."""
    beside = output.get("metadata", {}).get("image/png", {})
    name = str(beside.get("figure", "")) if isinstance(beside, dict) else ""
    return name if NAME.fullmatch(name) else ""


def shown(notebook: nbformat.NotebookNode, stem: str) -> list[tuple[nbformat.NotebookNode, Shown]]:
    """Return the outputs of a notebook that are pictures, with what they are; no name twice."""
    pictures: dict[str, tuple[nbformat.NotebookNode, Shown]] = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if png := decoded(output):
            name = figure_name(output)
            # A name twice would overwrite the first picture's file on the site.
            if not name or name in pictures:
                name = f"{stem}-{len(pictures) + 1}"
            pictures[name] = output, Shown(name, png, struct.unpack(">II", png[16:24]))
    return list(pictures.values())
