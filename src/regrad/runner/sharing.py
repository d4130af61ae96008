"""Which runs share a GPU: first one of each kind that was never measured, alone; then as many at a time as fit."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from regrad.executors.choice import chosen
from regrad.executors.gpu_memory import fitting, free_bytes
from regrad.executors.local import worker_count
from regrad.runner.timing import kind
from regrad.store import Store

if TYPE_CHECKING:
    from regrad.runner.ensure import Task

Portion = tuple[list["Task"], int]  # runs, and how many of them at a time


def portions(tasks: list["Task"], jobs: int, device: str, store: Store) -> Iterator[Portion]:
    """Yield tasks in portions, each when those before it have run.

    Args:
        tasks: What is to be run.
        jobs: Processes that were asked for; 0 leaves the number to what was measured, on a GPU of this machine.
        device: ``"cpu"`` or ``"cuda"``.
        store: What was measured.
    """
    if jobs or device != "cuda" or chosen() != "local":
        yield tasks, worker_count(jobs, device)
        return
    known = peaks(store)
    alone = list({kind(task.spec): task for task in reversed(tasks) if kind(task.spec) not in known}.values())[::-1]
    if alone:
        yield alone, 1
    if rest := [task for task in tasks if task not in alone]:
        known = peaks(store)
        sizes = [known[name] for name in {kind(task.spec) for task in rest} if name in known]
        yield rest, fitting(sizes, free_bytes(), len(os.sched_getaffinity(0)))


def peaks(store: Store) -> dict[str, int]:
    """Return the bytes that runs of each kind took at most on a GPU."""
    found: dict[str, int] = {}
    for record in store:
        went = store.circumstances(record.run_id)
        if record.fingerprint.device == "cuda" and went is not None:
            name = kind(record.spec)
            found[name] = max(found.get(name, 0), went.peak_bytes)
    return found
