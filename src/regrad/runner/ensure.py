"""Run what is missing from the store, and nothing else."""

import math
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from regrad.archive import opened
from regrad.blessing import older_codes, read, with_checks
from regrad.executors.choice import map_tasks
from regrad.groups import whole
from regrad.published import chosen
from regrad.results import Fingerprint, Record, Spec, run_id
from regrad.runner.dependencies import fingerprint
from regrad.runner.progress import SweepProgress
from regrad.runner.sharing import portions
from regrad.store import Store

CHECKPOINTS = "checkpoints"  # folder in the store
NO_ROOM = "OutOfMemoryError"  # of torch, on a GPU: how its message begins
PUT_OFF = "put off"  # status of a run for which there is no time
Plan = Callable[[str, list[Record]], list[Spec]]
Find = Callable[[Spec], Record | None]


class RunsFailedError(RuntimeError):
    """Some runs raised an exception; the others are finished and kept. Or a published set lacks runs."""


class Bench(NamedTuple):
    """Where runs happen: the store they go to, the data they read, the device and the number of processes.

    Attributes:
        jobs: Processes; 0 is one a core, on a GPU as many as fit into its memory.
        device: ``"cpu"`` or ``"cuda"``.
        until: When time is over, as `time.time` has it: no run begins after it, and those that go on are put off.
    """

    store: Path
    cache: Path
    device: str = "cpu"
    jobs: int = 0
    until: float = math.inf


class Task(NamedTuple):
    """One missing run, as it travels to a worker.

    Attributes:
        seconds: What it is expected to take; it is put off if that is more than is left.
    """

    spec: Spec
    fingerprint: Fingerprint
    bench: Bench
    seconds: float = 0.0

    @property
    def run_id(self) -> str:
        """Its name."""
        return run_id(self.spec, self.fingerprint)


class Outcome(NamedTuple):
    """What a worker answers: the record itself is in the store, unless the run failed or was put off."""

    run_id: str
    status: str
    message: str = ""


@cache
def published(store: Path) -> dict[str, Record]:
    """Return the records of a published set by what their specs mean, whatever code made them."""
    return {record.spec.key(): record for record in with_checks(opened(store), read(store.parent))}


def stored(store: Store, spec: Spec, now: Fingerprint) -> Record | None:
    """Return the record of a spec, made by today's code or by code whose runs were blessed; None without one."""
    codes = [now.code, *older_codes(store.root, now.code)]
    names = (run_id(spec, now.model_copy(update={"code": code})) for code in codes)
    return next((record for record in map(store.get, names) if record is not None), None)


def perform(task: Task) -> Outcome:
    """Run one task in a worker process and put its record into the store."""
    if time.time() + task.seconds > task.bench.until:
        return Outcome(task.run_id, PUT_OFF)  # before torch is imported: this is said of hundreds in a second
    from regrad.runner.circumstances import begin, measured
    from regrad.runner.hanging import OutOfTime
    from regrad.runner.resume import Keeper
    from regrad.runner.train import run

    name, device = task.run_id, task.fingerprint.device
    start, store = time.perf_counter(), Store(task.bench.store)
    begin(device)
    if (record := store.get(name)) is not None:  # its worker died between writing it and saying so
        return Outcome(name, record.status)
    try:
        with Keeper(task.bench.store / CHECKPOINTS, name, device=device, until=task.bench.until) as keeper:
            record = run(task.spec, task.fingerprint, cache=task.bench.cache, keeper=keeper)
        store.put(record, measured(time.perf_counter() - start, device))
        keeper.drop()
    except OutOfTime:
        return Outcome(name, PUT_OFF)
    except Exception as error:  # noqa: BLE001 - one failing run must not stop the others
        return Outcome(name, "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    return Outcome(name, record.status)


def missing(specs: list[Spec], bench: Bench) -> list[Task]:
    """Return the tasks, one a run, whose records the store lacks."""
    find = finder(bench)
    tasks = (Task(spec, fingerprint(spec, bench.device), bench) for spec in specs if find(spec) is None)
    return list({task.run_id: task for task in tasks}.values())


def ensure(specs: list[Spec], bench: Bench, *, title: str = "runs") -> list[Record]:
    """Return the records of ``specs``, in their order and with their tags, running those that are missing.

    Raises:
        RunsFailedError: If runs raised an exception, after others finished; they are tried again next time.
            Or if published records are used and some are not there: then nothing is run.
    """
    tasks = missing(specs, bench)
    if chosen():
        if tasks:
            raise RunsFailedError(f"{title}: {len(tasks)} of {len(specs)} runs are not in results/reference/{chosen()}")
        return collect(specs, bench)
    if failures := carry_out(tasks, bench, title=title):
        first = next(iter(failures.values()))
        raise RunsFailedError(f"{title}: {len(failures)} runs failed, the first with {first}")
    return collect(specs, bench)


def carry_out(tasks: Iterable[Task], bench: Bench, *, title: str) -> dict[str, str]:
    """Run tasks, in their order as far as workers are free; return what went wrong with each that failed, by its name.

    Those for which there was no time are missing from the store, and from what is returned.
    """
    store = Store(bench.store)
    store.sweep()
    open_ = {task.run_id: task for task in tasks}
    failures: dict[str, str] = {}
    with SweepProgress(title, [task.seconds for task in open_.values()]) as progress:
        for portion, workers in portions(list(open_.values()), bench.jobs, bench.device, store):
            failures |= finish({task.run_id: task for task in portion}, workers, store, progress)
    return failures


def finish(open_: dict[str, Task], workers: int, store: Store, progress: SweepProgress) -> dict[str, str]:
    """Run tasks, by their names, so many at a time; return what went wrong with each that failed."""
    failures: dict[str, str] = {}
    # A worker killed from outside loses its batch once or twice; more often it is the run's fault.
    for last in (False, False, True):
        if not open_:
            break
        crowded = False
        until = next(iter(open_.values())).bench.until
        for outcome in map_tasks(perform, list(open_.values()), workers, until):
            if outcome.message.startswith(NO_ROOM) and workers > 1 and not last:
                crowded = True  # others have taken the GPU's memory
                continue
            task = open_.pop(outcome.run_id)
            progress.advance(outcome.status, task.seconds)
            if outcome.status == "failed":
                failures[outcome.run_id] = outcome.message
        # What a dead worker had finished is in the store, though nobody said so.
        for task in [task for task in open_.values() if store.get(task.run_id) is not None]:
            progress.advance("finished", open_.pop(task.run_id).seconds)
        while open_ and time.time() >= until:  # no worker died: a cluster has not begun them
            progress.advance(PUT_OFF, open_.popitem()[1].seconds)
        workers = 1 if crowded else workers
    return failures | dict.fromkeys(open_, "a worker process was killed")


def collect(specs: list[Spec], bench: Bench) -> list[Record]:
    """Return the stored records of ``specs`` that are there, in order, each with its spec's tags."""
    find = finder(bench)
    pairs = [(spec, find(spec)) for spec in specs]
    return [record.model_copy(update={"spec": spec}) for spec, record in pairs if record is not None]


def known(plan: Plan, preset: str, bench: Bench) -> tuple[list[Record], list[Spec]]:
    """Carry a plan as far as the store reaches, running nothing.

    Returns:
        Records that are there and specs that are missing; what a plan names only after those have run is in neither.
    """
    return reached(plan, preset, finder(bench))


def reached(plan: Plan, preset: str, find: Find) -> tuple[list[Record], list[Spec]]:
    """Carry a plan as far as records are found; return those, and the specs, one a run, of which there is none."""
    records: list[Record] = []
    while True:
        pairs = [(spec, find(spec)) for spec in plan(preset, records)]
        here = [record.model_copy(update={"spec": spec}) for spec, record in pairs if record is not None]
        # An arm whose tuning is complete names its fresh seeds while others are still being tuned.
        if len(here) == len(records):
            open_: dict[str, Spec] = {}
            for spec, record in pairs:
                if record is None:
                    # Of arms that share a run the first asks for it: the others' rank could be that of what can wait.
                    open_.setdefault(spec.key(), spec)
            return here, list(open_.values())
        records = here


def whole_groups(plan: Plan, preset: str, find: Find) -> list[Record]:
    """Return the records that are found, of those groups of a plan of which no run is missing."""
    records, _ = reached(plan, preset, find)
    return whole(records, (spec for spec in plan(preset, records) if find(spec) is None))


def finder(bench: Bench) -> Find:
    """Return what finds a spec's record in a store: made by code that counts, or in a published set by any."""
    if chosen():
        return lambda spec: published(bench.store).get(spec.key())
    store, found = Store(bench.store), dict[str, Record]()

    def find(spec: Spec) -> Record | None:
        key = spec.key()
        if key not in found and (record := stored(store, spec, fingerprint(spec, bench.device))) is not None:
            found[key] = record
        return found.get(key)

    return find


def complete(plan: Plan, preset: str, bench: Bench) -> list[Record]:
    """Carry out a plan whose later specs depend on earlier records (tuning, then fresh seeds).

    ``plan(preset, records)`` returns all specs that can be named given the records so far; it is
    asked again until it names nothing new. Of a published set nothing is run: what it has of whole groups is returned.
    """
    if chosen():
        return whole_groups(plan, preset, finder(bench))
    records: list[Record] = []
    while True:
        specs = plan(preset, records)
        if len(specs) == len(records):
            return records
        records = ensure(specs, bench, title=specs[0].tags.get("study", "runs"))
