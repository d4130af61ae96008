"""One reproduction at a time on a checkout, and who is at it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from regrad.atomic import write_atomically


class BusyError(RuntimeError):
    """Another process works on this checkout; the message says which."""


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold a checkout's lock; the system takes it back from a process that is killed.

    Raises:
        BusyError: Another process holds it.
    """
    note = root / "results" / ".lock-holder"
    note.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / "results" / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{root} is being reproduced by {holder(note)}") from None
    with lock:
        write_atomically(note, f"process {os.getpid()} since {time.ctime()}\n".encode())
        yield


def holder(note: Path) -> str:
    """Return who holds the lock, in words; a holder of a moment ago has not written its note yet."""
    text = ""
    for _ in range(20):
        text = note.read_text().strip() if note.exists() else ""
        try:
            os.kill(int(text.split()[1]), 0)
        except (IndexError, ValueError, ProcessLookupError):
            time.sleep(0.1)
        except PermissionError:  # it lives, and is somebody else's
            return text
        else:
            return text
    return text or "another process"
