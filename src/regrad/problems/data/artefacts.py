"""Files on disk that can be trusted: written atomically, checksummed, put aside when damaged."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from regrad.atomic import sync_folder, write_atomically
from regrad.problems.data.errors import DataError

logger = logging.getLogger(__name__)
LOCK_SECONDS = 1800
Arrays = dict[str, np.ndarray]


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def quarantine(path: Path, cache: Path) -> Path:
    """Move a damaged file or folder to `cache`/quarantine, out of the way, and return its new place."""
    place = cache / "quarantine" / f"{time.time_ns()}-{path.name}"
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, place)
    return place


@contextmanager
def locked(cache: Path, name: str) -> Iterator[None]:
    """Hold the inter-process lock `name` of this cache; it is free once its holder ends or is killed.

    Raises:
        DataError: Another process held it for half an hour.
    """
    path = cache / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(path, timeout=LOCK_SECONDS):
            yield
    except filelock.Timeout:
        message = f"{name}: another process has held {path} for {LOCK_SECONDS} s; end it and retry"
        raise DataError(message) from None


def derived(cache: Path, key: dict[str, Any], build: Callable[[], Arrays]) -> Arrays:
    """Arrays computed once, kept under `cache`/derived, memory-mapped read-only and verified on every load.

    ``key`` has plain JSON values that determine them: "what", sources' checksums, versions, parameters. A damaged copy
    is put aside, said once in the log, and built again.
    """
    text = json.dumps(key, sort_keys=True, allow_nan=False)
    name = f"{key['what']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder = cache / "derived" / name
    arrays = _load(folder, text)
    if arrays is not None:
        return arrays
    with locked(cache, name):
        arrays = _load(folder, text)
        if arrays is not None:
            return arrays
        if folder.exists():
            logger.warning("%s was damaged: put aside as %s, built again", folder, quarantine(folder, cache))
        _save(folder, text, build())
    arrays = _load(folder, text)
    if arrays is None:
        raise DataError(f"{folder}: damaged right after it was written; check the disk")
    return arrays


def _save(folder: Path, key: str, arrays: Arrays) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The lock is held, so nobody else uses this name; a killed process may have left it behind.
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        digests = {}
        for name, array in arrays.items():
            with (temporary / f"{name}.npy").open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
                stream.flush()
                os.fsync(stream.fileno())
            digests[name] = file_digest(temporary / f"{name}.npy")
        body = json.dumps({"key": key, "arrays": digests}, sort_keys=True)
        seal = hashlib.sha256(body.encode()).hexdigest()
        write_atomically(temporary / "manifest.json", f"{seal}\n{body}\n".encode())
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def _load(folder: Path, key: str) -> Arrays | None:
    """The arrays in `folder`, or None if they are absent, damaged or made for another key."""
    try:
        seal, _, body = (folder / "manifest.json").read_text("utf-8").partition("\n")
        body = body.removesuffix("\n")
        if hashlib.sha256(body.encode()).hexdigest() != seal:
            return None
        manifest = json.loads(body)
        if manifest["key"] != key:
            return None
        arrays = {}
        for name, digest in manifest["arrays"].items():
            path = folder / f"{name}.npy"
            if file_digest(path) != digest:
                return None
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError):
        return None
    return arrays
