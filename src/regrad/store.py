"""The run store: one checksummed JSON file a run, written atomically; no torch, no pickle, no database.

A file is complete or absent: it is written under a temporary name, flushed to disk and renamed.
Every read checks the SHA-256 and that the content belongs to the name; what fails is moved to
``quarantine/`` and counts as missing, so that the run is simply repeated.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from regrad.atomic import write_atomically
from regrad.results import SCHEMA_VERSION, Circumstances, Record, canonical
from regrad.results import run_id as name_of

logger = logging.getLogger(__name__)

# From the version of an older schema to what makes its payload one of the next; the file itself stays as it is.
# Only what is not part of the spec can migrate: a run's name is the hash of its spec.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def migrated(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a record's payload in the schema of today.

    Raises:
        ValueError: Its schema is newer than this code, or older than all that it can read.
    """
    version = payload.get("schema_version")
    while version in MIGRATIONS and version < SCHEMA_VERSION:
        payload = MIGRATIONS[version](payload) | {"schema_version": version + 1}
        version += 1
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version={version!r}; allowed: {', '.join(map(str, [*MIGRATIONS, SCHEMA_VERSION]))}")
    return payload


def seal(payload: Any) -> bytes:
    """Return the file content of a payload: the payload and its checksum in one JSON object."""
    body = canonical(payload)
    return (
        canonical({"payload": payload, "sha256": hashlib.sha256(body.encode()).hexdigest()}).encode() + b"\n"
    )


def unseal(data: bytes) -> Any:
    """Return the payload of a sealed file.

    Raises:
        ValueError: If a byte was changed, added or lost.
    """
    try:
        outer = json.loads(data)
        intact = set(outer) == {"payload", "sha256"} and seal(outer["payload"]) == data
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("not a sealed JSON file") from error
    if not intact:
        raise ValueError("checksum mismatch")
    return outer["payload"]


class Store:
    """Records by run id under one folder.

    Args:
        root: Folder of the store; made when the first record is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, run_id: str) -> Path:
        """Return where a record lies or would lie."""
        return self.root / run_id[:2] / f"{run_id}.json"

    def put(self, record: Record, circumstances: Circumstances | None = None) -> None:
        """Write a record, and how its run went beside it.

        Raises:
            OSError: When the disk is full or not writable; the message names the path, nothing partial is left.
        """
        if circumstances is not None:
            beside = self.path(record.run_id).with_suffix(".circumstances.json")
            self._write(beside, circumstances.model_dump(mode="json"))
        payload = record.model_dump(mode="json", exclude={"spec": {"tags"}})
        self._write(self.path(record.run_id), payload)

    def get(self, run_id: str) -> Record | None:
        """Return a record, or None; a damaged or misplaced one is quarantined and counts as none."""
        payload = self._read(self.path(run_id))
        if payload is None:
            return None
        try:
            record = Record(**migrated(payload))
            named = name_of(record.spec, record.fingerprint)  # a right checksum does not make it the right run
            if {named, record.run_id} != {run_id}:
                raise ValueError("the record belongs to another run")
        except (ValueError, TypeError) as error:
            self._quarantine(self.path(run_id), str(error).splitlines()[0])
            return None
        return record

    def circumstances(self, run_id: str) -> Circumstances | None:
        """Return how a run went, None if that was not kept or is damaged."""
        path = self.path(run_id).with_suffix(".circumstances.json")
        payload = self._read(path)
        try:
            return None if payload is None else Circumstances(**payload)
        except (ValueError, TypeError) as error:
            self._quarantine(path, str(error).splitlines()[0])
            return None

    def state(self, run_id: str) -> str:
        """Return ``"there"``, ``"missing"`` or ``"damaged"``, leaving everything where it lies."""
        try:
            record = Record(**migrated(unseal(self.path(run_id).read_bytes())))
        except FileNotFoundError:
            return "missing"
        except (ValueError, TypeError):
            return "damaged"
        return "there" if name_of(record.spec, record.fingerprint) == record.run_id == run_id else "damaged"

    def holds(self, run_id: str) -> bool:
        """Return whether there is a file for a run; it is not read."""
        return self.path(run_id).is_file()

    def __contains__(self, run_id: str) -> bool:
        return self.get(run_id) is not None

    def names(self) -> list[str]:
        """Return the names of all runs that have a file, sorted; none is read."""
        return sorted(path.stem for path in self.root.glob("??/*.json") if "." not in path.stem)

    def __iter__(self) -> Iterator[Record]:
        for name in self.names():
            if record := self.get(name):
                yield record

    def sweep(self, older_than_seconds: float = 3600.0) -> int:
        """Remove temporary files that killed writers left; return how many."""
        import time

        stale = [
            path
            for path in self.root.glob("??/.tmp-*")
            if time.time() - path.stat().st_mtime > older_than_seconds
        ]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _write(self, path: Path, payload: Any) -> None:
        try:
            write_atomically(path, seal(payload))
        except OSError as error:
            if error.filename is None:  # the last fsync, of the folder, does not know its file; the message must
                error.filename = str(path)
            raise

    def _read(self, path: Path) -> Any:
        try:
            return unseal(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._quarantine(path, str(error))
            return None

    def _quarantine(self, path: Path, reason: str) -> None:
        target = self.root / "quarantine" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        logger.warning("%s: %s; moved to %s, the run will be repeated", path, reason, target)
