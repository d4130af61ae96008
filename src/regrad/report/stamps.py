"""Whether everything that the report includes says what it was made from."""

import hashlib
import json
from pathlib import Path

from matplotlib.backends.backend_pdf import pdfRepr


def stamped(path: Path) -> bool:
    """Return whether a figure (PDF) or a table (LaTeX) carries its stamp."""
    data = path.read_bytes()
    return b"/Subject" in data if path.suffix == ".pdf" else rb"\stamp{" in data and data.startswith(b"% ")


def carries(path: Path, text: str) -> bool:
    """Return whether a figure or a table carries this very stamp."""
    data = path.read_bytes()
    return pdfRepr(text) in data if path.suffix == ".pdf" else data.startswith(f"% {text}\n".encode())


def unstamped(generated: Path) -> list[str]:
    """Return, a line each, the figures and tables that lack a stamp or are not what an exporter wrote.

    Args:
        generated: Folder that the report includes from, with the notebooks' manifests.
    """
    rows = [row for part in (generated / "manifest").glob("*.json") for row in json.loads(part.read_text())]
    digests = {row["name"]: row["sha256"] for row in rows}
    found = []
    for path in sorted([*generated.glob("figures/*"), *generated.glob("tables/*")]):
        name = path.relative_to(generated).as_posix()
        if name not in digests:
            found.append(f"{name}: in no notebook's manifest")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digests[name]:
            found.append(f"{name}: changed since its export")
        elif not stamped(path):
            found.append(f"{name}: no stamp")
    return found
