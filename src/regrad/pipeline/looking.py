"""How a notebook begins: which records it reads, and what a mistake in it looks like."""

import os
from pathlib import Path
from typing import Any

from regrad import published
from regrad.pipeline.folders import PIPELINE, Folders, checkout
from regrad.presets import PRESETS
from regrad.problems.data.errors import DataError
from regrad.results import one_line, suggestion
from regrad.runner.ensure import RunsFailedError

RECORDS = ("published", "own")


def look(start: Path, records: str, preset: str) -> tuple[Folders, str]:
    """Return the folders that a notebook reads, and its preset.

    Args:
        start: A folder in the checkout.
        records: ``"published"`` reads what is published, trains nothing, and has the published set's preset;
            ``"own"`` reads the run store, to which runs that are missing are added. Ignored where the pipeline runs the
            notebook: it has chosen already.
        preset: For ``"own"``.

    Raises:
        ValueError: Another word, or another preset.
    """
    show_tables_without_row_numbers()
    if PIPELINE not in os.environ:
        say_mistakes_in_one_line()
        for name, value, allowed in (("records", records, RECORDS), ("preset", preset, PRESETS)):
            if value not in allowed:
                raise ValueError(f"{name} = {value!r}{suggestion(str(value), list(allowed))}")
        os.environ[published.VARIABLE] = published.SET if records == "published" else ""
    folders = checkout(start)
    return folders, published.chosen().partition("-")[0] or preset


def published_set(start: Path) -> Path:
    """Return the folder of the published records, for a notebook that looks at nothing else."""
    return look(start, "published", "smoke")[0].root / "results" / "reference" / published.SET


def show_tables_without_row_numbers() -> None:
    """Have the notebook's kernel show every row of a frame, and the index only where it says something."""
    from IPython.core.getipython import get_ipython

    def shown(frame: Any) -> str:
        return str(frame.to_html(index=type(frame.index).__name__ != "RangeIndex"))

    if (shell := get_ipython()) is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].for_type_by_name("pandas", "DataFrame", shown)


def say_mistakes_in_one_line() -> None:
    """Have the notebook's kernel print what somebody can mend as one line; ``%tb`` then shows where it came from."""
    from IPython.core.getipython import get_ipython

    def said(shell: Any, kind: type[BaseException], error: Any, trace: Any, tb_offset: int | None = None) -> list[str]:
        line = one_line(error) if isinstance(error, ValueError) else str(error).splitlines()[0]
        print(line)  # noqa: T201 - the cell's output
        return [line]

    if (shell := get_ipython()) is not None:
        shell.set_custom_exc((ValueError, RunsFailedError, DataError, FileNotFoundError), said)
