"""The missing runs of some studies, each on all processes that torchrun started: ``torchrun … -m regrad ranks``.

Rank 0 alone looks into the store and writes to it; the other ranks are told what comes next. Afterwards
``./reproduce.sh`` finds the records and makes figures, verdicts and report from them.
"""

import math
import os
import sys
import time
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from regrad.exits import DONE, ENVIRONMENT, FAILED, TIME, USAGE
from regrad.pipeline.folders import Folders
from regrad.pipeline.sweep import rank
from regrad.pipeline.targets import plan_of
from regrad.results import Fingerprint, Record, Spec, run_id
from regrad.runner import limits
from regrad.runner.circumstances import measured
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import CHECKPOINTS, Bench, known
from regrad.runner.hanging import OutOfTime
from regrad.runner.ranks import RanksError, run
from regrad.store import Store
from regrad.studies.study import Study


class Together(NamedTuple):
    """What was asked for.

    Attributes:
        targets: Whose plans are carried out.
        way: ``"ddp"`` or ``"fully_shard"``.
        device: ``"cpu"`` (gloo) or ``"cuda"`` (nccl).
        limit: At most so many runs; None for all that are missing.
        minutes: Time for runs; None for all that they take.
    """

    targets: list[Study]
    preset: str
    device: str
    way: str
    limit: int | None = None
    minutes: float | None = None


def carry_out(folders: Folders, order: Together) -> int:
    """Join the process group, run what is missing, and return the exit code, the same on every rank.

    Args:
        folders: The checkout, the same on all machines.
        order: What to run.
    """
    try:
        limits.check()
    except ValueError as error:
        sys.stderr.write(f"regrad: {error}\n" if os.environ["RANK"] == "0" else "")
        return USAGE
    if order.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    limit = timedelta(seconds=limits.seconds(limits.HANG))  # a rank whose partners are gone does not wait for longer
    dist.init_process_group("nccl" if order.device == "cuda" else "gloo", timeout=limit)
    try:
        return Coordinator(folders, order).work()
    finally:
        dist.destroy_process_group()


class Coordinator:
    """One rank's part of the work."""

    def __init__(self, folders: Folders, order: Together) -> None:
        self.folders, self.order = folders, order
        self.bench = Bench(folders.runs, folders.cache, order.device, 1)
        self.first = dist.get_rank() == 0
        self.lock = FileLock(folders.root / "results" / ".lock")
        self.waiting: list[tuple[Spec, Fingerprint]] = []
        self.refused: set[str] = set()
        self.until = math.inf if order.minutes is None else time.time() + 60 * order.minutes
        self.over = False  # on every rank alike

    def say(self, text: str) -> None:
        """Print one line, once."""
        if self.first:
            sys.stderr.write(f"regrad: {text}\n")

    def from_first(self, value: Any) -> Any:
        """Return what rank 0 has, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def work(self) -> int:
        """Run what is missing; return the exit code."""
        if not self.from_first(self.first and self.locked()):
            self.say(f"{self.folders.root} is being reproduced by another process")
            return ENVIRONMENT
        try:
            done = 0
            while (self.order.limit is None or done < self.order.limit) and (task := self.next()):
                done += self.one(*task)
            return self.end(done)
        finally:
            self.lock.release()

    def end(self, done: int) -> int:
        """Say what was done and what is open; return the exit code."""
        text = f"{done - len(self.refused)} runs done on {dist.get_world_size()} ranks"
        text += f", {len(self.refused)} refused" if self.refused else ""
        self.say(f"{text}; time is over, and the same call goes on" if self.over else text)
        return FAILED if self.refused else TIME if self.over else DONE

    def locked(self) -> bool:
        """Take the checkout's lock, if nobody has it."""
        try:
            self.folders.runs.mkdir(parents=True, exist_ok=True)
            self.lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def next(self) -> tuple[Spec, Fingerprint] | None:
        """Return the next missing run, the same on every rank; None when all are there or were refused."""
        parts = None
        if self.first:
            self.waiting = self.waiting or self.lacking()
            self.over = self.over or (bool(self.waiting) and time.time() >= self.until)
            parts = [part.model_dump() for part in self.waiting.pop(0)] if self.waiting and not self.over else None
        shared, self.over = self.from_first((parts, self.over))
        return None if shared is None else (Spec(**shared[0]), Fingerprint(**shared[1]))

    def lacking(self) -> list[tuple[Spec, Fingerprint]]:
        """Return the runs that the first study with any lacks as far as its plan reaches, but those refused.

        Those that decide most come first.
        """
        for target in self.order.targets:
            if plan := plan_of(target):
                specs = sorted(known(plan, self.order.preset, self.bench)[1], key=rank)
                runs = [(spec, fingerprint(spec, self.order.device)) for spec in specs]
                if left := [pair for pair in runs if run_id(*pair) not in self.refused]:
                    return left
        return []

    def one(self, spec: Spec, ours: Fingerprint) -> int:
        """Run one spec on all ranks; rank 0 keeps its record. Return how many runs are dealt with, 0 or 1."""
        start, checkpoints = time.perf_counter(), self.folders.runs / CHECKPOINTS
        try:
            record = run(spec, ours, self.order.way, cache=self.bench.cache, checkpoints=checkpoints, until=self.until)
        except RanksError as error:  # on every rank alike; what only one rank meets ends them all
            self.refused.add(run_id(spec, ours))
            self.say(f"refused: {error}")
            return 1
        except OutOfTime:
            self.over = True
            return 0
        if self.first:
            self.keep(record, time.perf_counter() - start)
        return 1

    def keep(self, record: Record, elapsed: float) -> None:
        """Write a record, its circumstances with the number of ranks."""
        how = measured(elapsed, self.order.device)
        machine = f"{how.machine}, {dist.get_world_size()} ranks, {self.order.way}"
        Store(self.folders.runs).put(record, how.model_copy(update={"machine": machine}))
        self.say(f"{record.run_id[:8]} {record.status} after {elapsed:.0f} s")
