"""Runs on this machine: a process a core, each with one torch thread."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

WATCH = "regrad-parent-watch"


def worker_count(jobs: int, device: str) -> int:
    """Return how many processes ``jobs`` means: 0 is one a core, and one on a GPU that nothing is known of."""
    if jobs > 0:
        return jobs
    return 1 if device == "cuda" else len(os.sched_getaffinity(0))


def guarded(function: Callable[[Task], Outcome], task: Task) -> Outcome:
    """Run ``function(task)`` in a worker that ends within a second of its parent."""
    watch_parent()
    return function(task)


def watch_parent() -> None:
    """End this process within a second of its parent, however the parent died."""
    if not any(thread.name == WATCH for thread in threading.enumerate()):
        threading.Thread(target=end_with, args=(os.getppid(),), name=WATCH, daemon=True).start()


def end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def map_local(
    function: Callable[[Task], Outcome], tasks: list[Task], workers: int, until: float = math.inf
) -> Iterator[Outcome]:
    """Yield ``function(task)`` as they finish, in any order; here no task waits for anything but the others.

    A worker that dies takes its siblings' unfinished tasks with it: what it had not yielded is
    missing from the result, and the caller asks again for what it still lacks.
    """
    # In this process: a pool takes longer to start than a single short run, and a debugger works.
    if workers == 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    # Here, because it takes longer to import than a reproduction without missing runs takes.
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # One task at a time and as it ends: runs differ in length by factors.
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
    try:
        yield from parallel(delayed(guarded)(function, task) for task in tasks)
    except TerminatedWorkerError:
        return
