"""Committed records of benchmarks, and their checksums in ``SHA256SUMS`` beside them, as sha256sum writes them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from regrad.atomic import write_atomically

SUMS = "SHA256SUMS"


def write(path: Path, text: str) -> None:
    data = text.encode()
    digests = sums(path.parent) | {path.name: hashlib.sha256(data).hexdigest()}
    # The record first: a kill in between leaves one that is refused, not a checksum of what is not there.
    write_atomically(path, data)
    write_atomically(path.parent / SUMS, "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode())


def sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def complaint(path: Path) -> str | None:
    """Return what is wrong with a record's bytes, None if they are those that were measured."""
    measured = sums(path.parent).get(path.name)
    if measured is None:
        return f"{path.name}: has no line in {SUMS}; allowed: records that a script of benchmarks/ wrote"
    if hashlib.sha256(path.read_bytes()).hexdigest() != measured:
        return f"{path.name}: checksum mismatch; take it from git again, or measure again"
    return None


def read(path: Path) -> dict[str, Any]:
    """Return a benchmark's record (ValueError: its bytes are not those that were measured)."""
    if wrong := complaint(path):
        raise ValueError(wrong)
    return json.loads(path.read_text(encoding="utf-8"))
