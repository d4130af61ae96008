"""``regrad runs``: what plans name and the store lacks, over all studies together, those first that decide most.

A spec's tag ``rank`` says how much it decides: "0" tuning, "1" fresh seeds, "2" all else, where a plan does not say
otherwise. Each wave runs what is missing of the lowest rank, a run of each study in turn, first what is likely to end
in time; then plans are asked again. When time is over, runs keep their checkpoint; the same call goes on from there.
"""

import math
import sys
import time
from collections.abc import Iterable
from itertools import chain, zip_longest

from regrad.archive import opened
from regrad.executors.local import worker_count
from regrad.exits import DONE, ENVIRONMENT, FAILED, TIME, USAGE
from regrad.pipeline.folders import Folders
from regrad.pipeline.lock import BusyError, only_one
from regrad.pipeline.order import Order
from regrad.pipeline.targets import plan_of
from regrad.presets import RATES_OF
from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import fetch
from regrad.problems.data.sources import find
from regrad.results import Spec
from regrad.runner import limits
from regrad.runner.dependencies import data_sources, fingerprint
from regrad.runner.ensure import Bench, Plan, Task, carry_out, known
from regrad.runner.progress import duration
from regrad.runner.timing import Times
from regrad.store import Store
from regrad.studies.grids import TUNING_SEED

RANKS = {"tune": 0, "fresh": 1}  # by phase, where a plan gives no rank


def rank(spec: Spec) -> int:
    """Return how soon a run is due: 0 first."""
    return int(spec.tags.get("rank", RANKS.get(spec.tags.get("phase", ""), 2)))


def in_turn(queues: Iterable[list[Task]]) -> list[Task]:
    """Return the first task of each queue, then the second of each; a run that two ask for once."""
    tasks = chain.from_iterable(zip_longest(*queues))
    return list({task.run_id: task for task in tasks if task is not None}.values())


def fetch_data(folders: Folders, plan: Plan, preset: str, *, offline: bool) -> None:
    """Fetch what the first runs of a plan read.

    Raises:
        DataError: It is not to be had.
    """
    for name in sorted({name for spec in plan(preset, []) for name in data_sources(spec)}):
        if find(name).fetchable:  # others are streamed, or came with a package
            fetch(name, folders.cache, offline=offline)


def told(done: int, lacking: list[Spec], times: Times, workers: int = 1) -> str:
    """Return in words how far plans are carried out, and how long the rest takes as far as it is named.

    Args:
        done: Runs that are there.
        lacking: Those that are named and missing; what follows from them is not known yet.
        times: What runs take.
        workers: Processes that share them.
    """
    text = f"{done} of {done + len(lacking)} runs named so far are done"
    if not lacking:
        return text
    seconds = times.total(lacking)
    left = f", about {duration(seconds / workers)} on {workers} at a time" if seconds is not None else ""
    return f"{text}, {len(lacking)} are open{left}"


class Sweep:
    """One call.

    Args:
        folders: The checkout.
        order: Whose plans are carried out, at which size and for how long.
    """

    def __init__(self, folders: Folders, order: Order) -> None:
        self.folders, self.order, self.preset = folders, order, order.preset
        self.stretch = math.inf if order.minutes is None else 60 * order.minutes
        self.bench = Bench(folders.runs, folders.cache, order.device, order.jobs, time.time() + self.stretch)
        self.plans = {study.name: plan for study in order.targets if (plan := plan_of(study))}
        self.workers = worker_count(order.jobs, order.device)
        self.tried: set[str] = set()
        self.failures: dict[str, str] = {}

    def run(self) -> int:
        """Run what is missing, as far as time reaches; say how far that was, and return the exit code."""
        for name, plan in list(self.plans.items()):
            try:
                fetch_data(self.folders, plan, self.preset, offline=self.order.offline)
            except DataError as error:
                self.failures[name] = str(error)
                del self.plans[name]
        while True:
            done, queues = self.standing()
            times = times_of(self.folders)
            wave = self.wave(queues, times)
            if not wave:
                return self.end(done, queues, times)
            self.failures |= carry_out(wave, self.bench, title=f"{self.preset}, rank {rank(wave[0].spec)}")
            self.tried |= {task.run_id for task in wave}

    def standing(self) -> tuple[int, list[list[Task]]]:
        """Return how many runs are there, and those that each study lacks as far as its plan reaches."""
        reached = [known(plan, self.preset, self.bench) for plan in self.plans.values()]
        done = {record.run_id for records, _ in reached for record in records}
        device = self.bench.device
        return len(done), [[Task(s, fingerprint(s, device), self.bench) for s in specs] for _, specs in reached]

    def wave(self, queues: list[list[Task]], times: Times) -> list[Task]:
        """Return the missing runs of the lowest rank, those for which there is time and that were not tried."""
        left = self.bench.until - time.time()
        # A run that takes longer than half of the stretch begins in its first half, else it never would.
        timed = [[t._replace(seconds=min(times.expected(t.spec), self.stretch / 2)) for t in queue] for queue in queues]
        due = [[t for t in queue if t.seconds < left and t.run_id not in self.tried] for queue in timed]
        lowest = min((rank(task.spec) for queue in due for task in queue), default=0)
        due = [[task for task in queue if rank(task.spec) == lowest] for queue in due]
        # Those that are likely to end in time come first: a short stretch is to leave records, not checkpoints alone.
        likely = [[task for task in queue if times.expected(task.spec) < left] for queue in due]
        return list({task.run_id: task for task in [*in_turn(likely), *in_turn(due)]}.values())

    def end(self, done: int, queues: list[list[Task]], times: Times) -> int:
        """Say how far it came; return the exit code."""
        left = [task.spec for task in in_turn(queues) if task.run_id not in self.failures]
        lines = [f"{self.preset}: {told(done, left, times, self.workers)}"]
        if self.failures:
            lines.append(f"{len(self.failures)} failed, the first with {next(iter(self.failures.values()))}")
        sys.stderr.write("".join(f"regrad: {line}\n" for line in lines))
        return FAILED if self.failures else TIME if left else DONE


def times_of(folders: Folders) -> Times:
    """Return what runs took, here and where those were made that are published."""
    references = sorted((folders.root / "results" / "reference").glob("*/runs"))
    return Times(map(opened, [*references, folders.root / "results" / "runs"]))


def sweep(folders: Folders, order: Order) -> int:
    """Carry out ``regrad runs``, alone on this checkout; return the exit code.

    Args:
        folders: The checkout.
        order: What to run.
    """
    try:
        limits.check()
    except ValueError as error:
        sys.stderr.write(f"regrad: {error}\n")
        return USAGE
    try:
        with only_one(folders.root):
            restored = restore(folders, f"{order.preset}-{order.device}") + take_rates(folders, order)
            sys.stderr.write(f"regrad: {restored} published runs taken over\n" if restored else "")
            return Sweep(folders, order).run()
    except BusyError as error:
        sys.stderr.write(f"regrad: {error}\n")
        return ENVIRONMENT


def take_rates(folders: Folders, order: Order) -> int:
    """Take over the published tuning of a preset that is part of a larger one; return how many runs that are."""
    larger = RATES_OF.get(order.preset)
    return restore(folders, f"{larger}-{order.device}", least_seed=TUNING_SEED) if larger else 0


def restore(folders: Folders, name: str, *, least_seed: int = 0) -> int:
    """Put those runs of a published set into the run store that it lacks; return how many.

    Args:
        folders: The checkout.
        name: Of the set.
        least_seed: Runs of smaller seeds stay where they are; those of tuning have `TUNING_SEED` and more.
    """
    published, restored = opened(folders.root / "results" / "reference" / name / "runs"), 0
    store = Store(folders.runs)
    for run in published.names():
        if not store.holds(run) and (record := published.get(run)) is not None and record.spec.seed >= least_seed:
            store.put(record, published.circumstances(run))
            restored += 1
    return restored
