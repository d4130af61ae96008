"""The only writer into ``paper/generated/``: figures, tables, numbers and verdicts, each with its stamp.

Equal records give equal bytes. Every file has a row in the manifest: name, notebook, preset, runs,
device, SHA-256.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from regrad.atomic import write_atomically
from regrad.provenance import commit as current_commit
from regrad.report.style import SETTINGS, put_stamp
from regrad.results import Record, run_set
from regrad.store import seal, unseal

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
KEY = re.compile(r"[A-Za-z0-9.:=+-]+(/[A-Za-z0-9.:=+-]+)*")
TEX_SPECIAL = {
    **{character: "\\" + character for character in "{}$&#%_"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}"},
    **{"`": r"\textasciigrave{}", "-": "{-}", "\n": " ", "\t": " "},
}


def escape_tex(text: str) -> str:
    """Return ``text`` such that LaTeX prints it and executes nothing of it."""
    # Two commas in a row would be set as one low quotation mark.
    return re.sub(",(?=,)", ",{}", "".join(TEX_SPECIAL.get(c, c) for c in text))


def breakable(tex: str) -> str:
    """Return escaped text in which LaTeX may break a line inside the name of a test or a path."""
    return re.sub(r"(\\_|::)", r"\1\\allowbreak{}", tex)


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


def stamp_text(preset: str, records: Sequence[Record], *, commit: str = "") -> str:
    """Return the line that says what a figure was made from; ``commit`` is that of the code, this one's if empty."""
    devices = "+".join(sorted({r.fingerprint.device for r in records})) or "no device"
    seeds = len({r.spec.seed for r in records})
    runs = len({r.run_id for r in records})
    which = run_set([r.run_id for r in records])
    code = commit or current_commit()
    how = {r.run_id: r.repeated for r in records if r.repeated}
    whole = sum(kind == "whole" for kind in how.values())
    checked = f" · {whole} repeated, {len(how) - whole} begun" if how else ""
    return f"preset {preset} · {devices} · {runs} runs, {seeds} seeds · run set {which}{checked} · commit {code}"


def rendered(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    """Return the bytes of a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


class Picture:
    """A PNG that notebooks show.

    Args:
        png: Its bytes.
    """

    def __init__(self, png: bytes) -> None:
        self.png = png

    def _repr_png_(self) -> bytes:
        return self.png


class Exporter:
    """Writes what one notebook contributes to the report.

    Args:
        generated: Folder that the report includes from.
        notebook: Name of the notebook, as in the manifest.
        preset: Preset of its records.
        records: Records that its figures and tables are made from, unless a call names others.
        source: What the stamp says in place of runs, for a notebook that reads a benchmark.
        published: The published set that facts are read from, None to compute them.
    """

    def __init__(
        self,
        generated: str | Path,
        *,
        notebook: str,
        preset: str,
        records: Sequence[Record],
        source: str = "",
        published: Path | None = None,
    ) -> None:
        self.generated = Path(generated)
        self.notebook, self.preset, self.records = notebook, preset, list(records)
        self.source, self.published = source, published
        self.rows: list[dict[str, Any]] = []

    def stamp(self, records: Sequence[Record] | None = None) -> str:
        """Return the line under a figure or table: its source, or preset, device and runs; and the commit."""
        if self.source:
            return f"{self.source} · commit {current_commit()}"
        return stamp_text(self.preset, self.records if records is None else records)

    def figure(self, name: str, figure: Figure, records: Sequence[Record] | None = None) -> "Picture":
        """Stamp ``figure`` and write it as ``figures/<name>.pdf``; return it as a picture, to be shown."""
        text = self.stamp(records)
        put_stamp(figure, text)
        metadata = {"CreationDate": None, "Producer": None, "Creator": "regrad", "Subject": text}
        self._write(f"figures/{name}.pdf", rendered(figure, "pdf", metadata), records, (text, self.source))
        return Picture(rendered(figure, "png", {"Software": None}))

    def table(
        self, name: str, latex: str, records: Sequence[Record] | None = None, *, source: str = ""
    ) -> None:
        """Write a LaTeX table as ``tables/<name>.tex``, with its stamp as a comment and a visible line.

        ``source`` is what the stamp says in place of runs, for the table of a benchmark among those of runs.
        """
        text = f"{source} · commit {current_commit()}" if source else self.stamp(records)
        body = f"% {text}\n{latex.rstrip()}\n\\stamp{{{escape_tex(text)}}}\n"
        self._write(f"tables/{name}.tex", body.encode(), records, (text, source or self.source))

    def numbers(self, values: Mapping[str, str]) -> None:
        r"""Write texts that the prose cites as ``\val{key}``; already formatted, LaTeX allowed in them."""
        lines = []
        for key, value in sorted(values.items()):
            if not KEY.fullmatch(key):
                raise ValueError(f"number {key!r}: letters, digits and . : = + - / only")
            lines.append(f"\\setval{{{key}}}{{{value}}}")
        self._write(f"numbers/{self.notebook}.tex", ("\n".join(lines) + "\n").encode(), None)

    def claims(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Write the verdicts of this notebook's claims as ``claims/<notebook>.json``."""
        body = json.dumps(list(verdicts), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        self._write(f"claims/{self.notebook}.json", (body + "\n").encode(), None)

    def fact(self, name: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``compute(*arguments)`` returns, kept as ``live/<name>.json``; or the published file's content.

        Raises:
            ValueError: The published file is damaged.
        """
        name = f"live/{name}.json"
        published = self.published
        value = unseal((published / name).read_bytes()) if published else encode(compute(*arguments))
        self._write(name, seal(value), [])
        return decode(value)

    def finish(self) -> str:
        """Write the manifest of this notebook; its last act. Return a sentence about it."""
        body = json.dumps(sorted(self.rows, key=lambda row: row["name"]), indent=1, sort_keys=True)
        write_atomically(self.generated / "manifest" / f"{self.notebook}.json", (body + "\n").encode())
        return f"exported {len(self.rows)} files of {self.notebook}: {self.stamp()}"

    def _write(
        self, relative: str, data: bytes, records: Sequence[Record] | None, stamp: tuple[str, str] | None = None
    ) -> None:
        stem = relative.partition("/")[2].rpartition(".")[0]  # a name with a slash in it must not pass
        if not (NAME.fullmatch(stem) or stem == self.notebook):
            raise ValueError(f"export {stem!r}: lower-case letters, digits and single hyphens only")
        used = self.records if records is None else records
        write_atomically(self.generated / relative, data)
        self.rows.append(
            ({"stamp": stamp[0], "source": stamp[1]} if stamp else {})
            | {
                "name": relative,
                "notebook": self.notebook,
                "preset": self.preset,
                "device": "+".join(sorted({r.fingerprint.device for r in used})),
                "runs": sorted({r.run_id for r in used}),
                "run_set": run_set([r.run_id for r in used]),
                "commit": current_commit(),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
