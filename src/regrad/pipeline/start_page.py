"""The lab's first page with its board: ``notebooks/playground/start.ipynb`` executed into ``results/lab/start.ipynb``.

Both lie two folders deep, so that their links lead to the same places.
"""

import sys
import tempfile
from pathlib import Path

from regrad.atomic import write_atomically
from regrad.pipeline.folders import Folders, checkout
from regrad.published import SET

PAGE = Path("lab") / "start.ipynb"


def make(folders: Folders) -> Path:
    """Bring the page up to date with the published verdicts, and return where it lies."""
    page, source = folders.root / "results" / PAGE, folders.notebooks / "playground" / "start.ipynb"
    verdicts = folders.root / "results" / "reference" / SET / "claims.json"
    code = Path(__file__).parents[1]
    read = [path for part in ("claims", "report", "playground") for path in (code / part).rglob("*.py")]
    sources = [source, verdicts, *read]
    if page.is_file() and page.stat().st_mtime > max(path.stat().st_mtime for path in sources if path.is_file()):
        return page
    import nbformat

    from regrad.pipeline.documents import draw

    with tempfile.TemporaryDirectory(prefix="regrad-start-") as folder:
        (drawn,) = draw([source], [], Path(folder))
        notebook = nbformat.read(drawn, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata["jupyter"] = {"source_hidden": True}  # the picture is the page
    write_atomically(page, (nbformat.writes(notebook) + "\n").encode())
    return page


def main() -> int:
    """Make the page; what keeps it from being made is said in one line, and the lab opens without it."""
    try:
        make(checkout(Path.cwd()))
    except Exception as error:  # noqa: BLE001 - the lab must open, whatever is wrong with a picture on its first page
        sys.stderr.write(f"regrad: the start page shows no board: {str(error).strip().splitlines()[-1]}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
