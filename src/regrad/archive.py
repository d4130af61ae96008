"""A published set's records, compact: one ``<study>.jsonl.xz`` a study, read as the run store is and never written to.

A file holds a line a run, sorted by run id: the record and how its run went. Its last line counts the others and has
their SHA-256. Equal records give equal bytes. A file is whole or it is refused, with all that is in it.
"""

import functools
import hashlib
import json
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from regrad.atomic import write_atomically
from regrad.results import Circumstances, Record, canonical
from regrad.results import run_id as name_of
from regrad.store import Store, migrated

SUFFIX = ".jsonl.xz"
Run = tuple[Record, Circumstances | None]


class ArchiveError(ValueError):
    """A published file of records is damaged; the message is one line."""


def pack(runs: Iterable[Run]) -> bytes:
    """Return the content of a file of runs, in whatever order they come; tags are not kept."""
    lines = {}
    for record, went in runs:
        payload = record.model_dump(mode="json", exclude={"spec": {"tags"}})
        how = None if went is None else went.model_dump(mode="json")
        lines[record.run_id] = canonical({"circumstances": how, "record": payload}) + "\n"
    body = "".join(lines[name] for name in sorted(lines))
    seal = {"runs": len(lines), "sha256": hashlib.sha256(body.encode()).hexdigest()}
    return lzma.compress((body + canonical(seal) + "\n").encode(), preset=9 | lzma.PRESET_EXTREME)


def unpack(data: bytes) -> dict[str, dict[str, Any]]:
    """Return each line of a file of runs, by run id.

    Raises:
        ValueError: A byte was changed, added or lost.
    """
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        text = reader.decompress(data)
    except lzma.LZMAError:
        raise ValueError("not a whole xz file") from None
    if not reader.eof or reader.unused_data:  # lzma.decompress would pass over what follows the end
        raise ValueError("not a whole xz file")
    *lines, seal, end = text.split(b"\n") if text.count(b"\n") else (b"", b"")
    body = text[: len(text) - len(seal) - 1]
    wanted = {"runs": len(lines), "sha256": hashlib.sha256(body).hexdigest()}
    if end or seal != canonical(wanted).encode():
        raise ValueError("checksum mismatch")
    parsed = map(json.loads, lines)
    return {line["record"]["run_id"]: line for line in parsed}


def write(folder: Path, studies: dict[str, list[Run]]) -> list[Path]:
    """Make a folder hold these runs, a file a study; return the files that were not so before.

    Args:
        folder: ``runs`` of a published set.
        studies: Name of each file to its runs.
    """
    wanted = {folder / f"{name}{SUFFIX}": pack(runs) for name, runs in studies.items() if runs}
    changed = [path for path, data in wanted.items() if not path.is_file() or path.read_bytes() != data]
    for path in changed:
        write_atomically(path, wanted[path])
    for path in set(folder.glob(f"*{SUFFIX}")) - set(wanted):
        path.unlink()
    return changed


@functools.cache
def _read(path: Path, modified_ns: int) -> dict[str, dict[str, Any]]:
    try:
        return unpack(path.read_bytes())
    except ValueError as error:
        raise ArchiveError(f"{path}: {error}; restore it from git, or publish the set anew") from None


class Archive:
    """The records of a published set, by run id; files are read when one of their runs is asked for.

    Args:
        root: ``runs`` of a published set.

    Raises:
        ArchiveError: From every method: a file is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @functools.cached_property
    def lines(self) -> dict[str, dict[str, Any]]:
        """Record and circumstances of each run, as they were written."""
        files = sorted(self.root.glob(f"*{SUFFIX}"))
        return {name: line for path in files for name, line in _read(path, path.stat().st_mtime_ns).items()}

    def names(self) -> list[str]:
        """Return the names of all runs, sorted."""
        return sorted(self.lines)

    def holds(self, run_id: str) -> bool:
        """Return whether there is a line for a run."""
        return run_id in self.lines

    def get(self, run_id: str) -> Record | None:
        """Return a record, or None.

        Raises:
            ArchiveError: The line is no record of that run: a right checksum does not make it the right one.
        """
        if run_id not in self.lines:
            return None
        try:
            record = Record(**migrated(self.lines[run_id]["record"]))
        except (ValueError, TypeError) as error:
            raise ArchiveError(f"{self.root}: run {run_id[:12]}: {str(error).splitlines()[0]}") from None
        if name_of(record.spec, record.fingerprint) != run_id:
            raise ArchiveError(f"{self.root}: run {run_id[:12]}: the record belongs to another run")
        return record

    def circumstances(self, run_id: str) -> Circumstances | None:
        """Return how a run went, None if that was not kept."""
        went = self.lines[run_id]["circumstances"] if run_id in self.lines else None
        return None if went is None else Circumstances(**went)

    def state(self, run_id: str) -> str:
        """Return ``"there"`` or ``"missing"``."""
        return "missing" if self.get(run_id) is None else "there"

    def __iter__(self) -> Iterator[Record]:
        for name in self.names():
            if record := self.get(name):
                yield record


def opened(root: Path) -> Store | Archive:
    """Return what reads the records in a folder: of a published set, or of a run store."""
    return Archive(root) if any(Path(root).glob(f"*{SUFFIX}")) else Store(root)
