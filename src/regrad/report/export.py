"""The only writer into ``paper/generated/``: figures, tables, numbers and verdicts, each with its stamp.

Equal records give equal bytes. Every file has a row in the notebook's manifest, ``report/manifest.py``.
"""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from regrad.atomic import write_atomically
from regrad.provenance import commit
from regrad.published import SET
from regrad.report.latex import escape_tex, printed
from regrad.report.manifest import NAME, ManifestRow, write_manifest
from regrad.report.stamps import devices, source_stamp, stamp_text
from regrad.report.style import SETTINGS, put_stamp, say_where_empty
from regrad.results import Record, run_set
from regrad.store import seal, unseal

KEY = re.compile(r"[A-Za-z0-9.:=+-]+(/[A-Za-z0-9.:=+-]+)*")
# None takes the entry out: a date or matplotlib's version would change the bytes of an equal figure.
PDF_METADATA = {"CreationDate": None, "Producer": None, "Creator": "regrad"}


def encode(value: Any) -> Any:
    """Return a value as JSON knows it; a mapping becomes pairs, which keep their order and may have any key."""
    if isinstance(value, Mapping):
        return {"pairs": [[key, encode(entry)] for key, entry in value.items()]}
    return [encode(entry) for entry in value] if isinstance(value, list | tuple) else value


def decode(value: Any) -> Any:
    """Return what ``encode`` was given, tuples as lists."""
    if isinstance(value, dict):
        return {key: decode(entry) for key, entry in value["pairs"]}
    return [decode(entry) for entry in value] if isinstance(value, list) else value


def rendered(figure: Figure, kind: str, metadata: Mapping[str, str | None]) -> bytes:
    """Return the bytes of a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    # Fonts are embedded and hashed while saving, so the settings must hold then too.
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format=kind, metadata=dict(metadata))
    return buffer.getvalue()


class Picture:
    """A figure as notebooks show it; the output says its name, by which the site knows it again."""

    def __init__(self, name: str, png: bytes) -> None:
        self.name, self.png = name, png

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return self.png, {"figure": self.name}


class Exporter:
    """Writes what one notebook contributes to the report.

    Args:
        generated: Folder that the report includes from; None to show figures and write nothing.
        notebook: Name of the notebook, as in the manifest.
        preset: Preset of its records.
        records: Records that its figures and tables are made from, unless a call names others.
        source: What the stamp says in place of runs, for a notebook that reads a benchmark.
        published: The published set that facts are read from, None to compute them.
    """

    def __init__(
        self,
        generated: str | Path | None,
        *,
        notebook: str,
        preset: str,
        records: Sequence[Record],
        source: str = "",
        published: Path | None = None,
    ) -> None:
        self.generated = None if generated is None else Path(generated)
        self.notebook, self.preset, self.records = notebook, preset, list(records)
        self.source, self.published = source, published
        self.rows: list[ManifestRow] = []

    def stamp(self, records: Sequence[Record], source: str) -> str:
        """Return the line under a figure or table: its source, or preset, device and runs; and the commit."""
        return source_stamp(source) if source else stamp_text(self.preset, records)

    def figure(
        self,
        name: str,
        draw: Callable[..., Figure],
        *arguments: Any,
        records: Sequence[Record] | None = None,
        source: str = "",
    ) -> Picture:
        """Draw a figure, stamp it and write it as ``figures/<name>.pdf``.

        Args:
            name: Of the file, and what the report calls it.
            draw: The function that draws it; the manifest names it.
            arguments: What ``draw`` is given.
            records: What it is made from, if not from all of the notebook's records.
            source: What its stamp says in place of runs, for a figure of something else among those of runs.

        Returns:
            The figure as a picture, to be shown.
        """
        source = source or self.source
        records = self.records if records is None else records
        with warnings.catch_warnings():  # of axes without runs, which `say_where_empty` settles
            warnings.filterwarnings("ignore", "No artists with labels|Attempting to set identical")
            figure, stamp = draw(*arguments), self.stamp(records, source)
        say_where_empty(figure)
        put_stamp(figure, stamp)
        pdf = rendered(figure, "pdf", PDF_METADATA | {"Subject": stamp})
        drawn_by = f"{draw.__module__}:{draw.__qualname__}"
        self._write(f"figures/{name}.pdf", pdf, records, stamp=stamp, source=source, drawn_by=drawn_by)
        # Drawn once, saved twice: what the notebook shows is what the report includes.
        return Picture(name, rendered(figure, "png", {"Software": None}))

    def table(self, name: str, latex: str, *, records: Sequence[Record] | None = None, source: str = "") -> None:
        """Write a LaTeX table as ``tables/<name>.tex``, with its stamp as a comment and a visible line.

        ``source`` is what the stamp says in place of runs, for a table of something else among those of runs.
        """
        source = source or self.source
        # What a source stands for was not made from the notebook's runs, and its row names none.
        records = records if records is not None else [] if source else self.records
        stamp = self.stamp(records, source)
        body = f"% {stamp}\n{printed(latex.rstrip())}\n\\stamp{{{escape_tex(stamp)}}}\n"
        self._write(f"tables/{name}.tex", body.encode(), records, stamp=stamp, source=source)

    def numbers(self, values: Mapping[str, str]) -> None:
        r"""Write texts that the prose cites as ``\val{key}``; already formatted, LaTeX allowed in them.

        An empty text is left out, and the report says in its place that it was not run yet.

        Raises:
            ValueError: A key that LaTeX could take for something else.
        """
        for key in values:  # all of them before anything is written
            if not KEY.fullmatch(key):
                raise ValueError(f"number {key!r}: letters, digits and . : = + - / only")
        # Sorted: what is counted first changes no byte of the file.
        lines = [f"\\setval{{{key}}}{{{printed(value)}}}" for key, value in sorted(values.items()) if value]
        self._write(f"numbers/{self.notebook}.tex", ("\n".join(lines) + "\n").encode(), self.records)

    def claims(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        body = json.dumps(list(verdicts), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        self._write(f"claims/{self.notebook}.json", (body + "\n").encode(), self.records)

    def fact(self, name: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``compute(*arguments)`` returns, kept as ``live/<name>.json``; or the published file's content.

        Raises:
            ValueError: The published file is damaged.
        """
        file = f"live/{name}.json"
        value = unseal(self._published(file).read_bytes()) if self.published else encode(compute(*arguments))
        self._write(file, seal(value), [])
        # Decoded in both cases, so that figures see lists for tuples also where the fact was just computed.
        return decode(value)

    def _published(self, file: str) -> Path:
        """Return a published file: of the set, or, where a set is of runs alone, of the one that a report came of."""
        assert self.published is not None
        own = self.published / file
        return own if own.exists() else self.published.parent / SET / file

    def finish(self) -> str:
        """Write the manifest of this notebook; its last act. Return a sentence about it."""
        stamp = self.stamp(self.records, self.source)
        if self.generated is None:
            return f"shown, nothing written: {stamp}"
        write_manifest(self.generated, self.notebook, self.rows)
        return f"exported {len(self.rows)} files of {self.notebook}: {stamp}"

    def _write(self, name: str, data: bytes, records: Sequence[Record], **seen: str) -> None:
        """Write a file and note its row; ``seen`` is what the row says of a file that readers see."""
        stem = name.partition("/")[2].rpartition(".")[0]  # a name with a slash in it must not pass
        # The notebook's own name has underscores, which no figure's or table's may have.
        if not (NAME.fullmatch(stem) or stem == self.notebook):
            raise ValueError(f"export {stem!r}: lower-case letters, digits and single hyphens only")
        if self.generated is None:
            return
        write_atomically(self.generated / name, data)
        runs = sorted({record.run_id for record in records})
        row = ManifestRow(
            name=name,
            notebook=self.notebook,
            preset=self.preset,
            device=devices(records),
            runs=tuple(runs),
            run_set=run_set(runs),
            commit=commit(),
            sha256=hashlib.sha256(data).hexdigest(),
            **seen,
        )
        self.rows.append(row)
