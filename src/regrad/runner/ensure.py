"""Run what is missing from the store, and nothing else."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from regrad.blessing import older_codes, read, with_checks
from regrad.executors.choice import map_tasks
from regrad.executors.local import worker_count
from regrad.published import chosen
from regrad.results import Fingerprint, Record, Spec, run_id
from regrad.runner.dependencies import fingerprint
from regrad.runner.progress import SweepProgress
from regrad.store import Store

CHECKPOINTS = "checkpoints"  # folder in the store
Plan = Callable[[str, list[Record]], list[Spec]]


class RunsFailedError(RuntimeError):
    """Some runs raised an exception; the others are finished and kept. Or a published set lacks runs."""


class Bench(NamedTuple):
    """Where runs happen: the store they go to, the data they read, the device and the number of processes.

    Attributes:
        jobs: Processes; 0 is one a core (one on a GPU).
        device: ``"cpu"`` or ``"cuda"``.
    """

    store: Path
    cache: Path
    device: str = "cpu"
    jobs: int = 0


class Task(NamedTuple):
    """One missing run, as it travels to a worker."""

    spec: Spec
    fingerprint: Fingerprint
    bench: Bench


class Outcome(NamedTuple):
    """What a worker answers: the record itself is in the store."""

    run_id: str
    status: str
    message: str = ""


@cache
def published(store: Path) -> dict[str, Record]:
    """Return the records of a published set by what their specs mean, whatever code made them."""
    return {record.spec.key(): record for record in with_checks(Store(store), read(store.parent))}


def stored(store: Store, spec: Spec, now: Fingerprint) -> Record | None:
    """Return the record of a spec, made by today's code or by code whose runs were blessed; None without one."""
    codes = [now.code, *older_codes(store.root, now.code)]
    names = (run_id(spec, now.model_copy(update={"code": code})) for code in codes)
    return next((record for record in map(store.get, names) if record is not None), None)


def perform(task: Task) -> Outcome:
    """Run one task in a worker process and put its record into the store."""
    from regrad.runner.circumstances import measured
    from regrad.runner.resume import Keeper
    from regrad.runner.train import run

    name, device = run_id(task.spec, task.fingerprint), task.fingerprint.device
    start, store = time.perf_counter(), Store(task.bench.store)
    if (record := store.get(name)) is not None:  # its worker died between writing it and saying so
        return Outcome(name, record.status)
    try:
        with Keeper(task.bench.store / CHECKPOINTS, name, device=device) as keeper:
            record = run(task.spec, task.fingerprint, cache=task.bench.cache, keeper=keeper)
        store.put(record, measured(time.perf_counter() - start, device))
        keeper.drop()
    except Exception as error:  # noqa: BLE001 - one failing run must not stop the others
        return Outcome(name, "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    return Outcome(name, record.status)


def missing(specs: list[Spec], bench: Bench) -> list[Task]:
    """Return the tasks, one a run, whose records the store lacks."""
    tasks = {run_id(s, f): Task(s, f, bench) for s in specs for f in [fingerprint(s, bench.device)]}
    if chosen():
        return [task for task in tasks.values() if task.spec.key() not in published(bench.store)]
    store = Store(bench.store)
    return [task for task in tasks.values() if stored(store, task.spec, task.fingerprint) is None]


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
    Store(bench.store).sweep()
    failures: dict[str, str] = {}
    with SweepProgress(title, len(tasks)) as progress:
        # A worker killed from outside loses its batch once or twice; more often it is the run's fault.
        for _ in range(3):
            for outcome in map_tasks(perform, tasks, worker_count(bench.jobs, bench.device)):
                progress.advance(outcome.status)
                if outcome.status == "failed":
                    failures[outcome.run_id] = outcome.message
            tasks = [t for t in missing(specs, bench) if run_id(t.spec, t.fingerprint) not in failures]
            if not tasks:
                break
    if failures or tasks:
        first = next(iter(failures.items()), (None, "a worker process was killed"))
        raise RunsFailedError(f"{title}: {len(failures) + len(tasks)} runs failed, the first with {first[1]}")
    return collect(specs, bench)


def collect(specs: list[Spec], bench: Bench) -> list[Record]:
    """Return the stored records of ``specs`` that are there, in order, each with its spec's tags."""
    if chosen():
        pairs = [(spec, published(bench.store).get(spec.key())) for spec in specs]
    else:
        store = Store(bench.store)
        pairs = [(spec, stored(store, spec, fingerprint(spec, bench.device))) for spec in specs]
    return [record.model_copy(update={"spec": spec}) for spec, record in pairs if record is not None]


def known(plan: Plan, preset: str, bench: Bench) -> tuple[list[Record], list[Spec]]:
    """Carry a plan as far as the store reaches, running nothing.

    Returns:
        Records that are there and specs that are missing; what a plan names only after those have run is in neither.
    """
    records: list[Record] = []
    while True:
        specs = plan(preset, records)
        lacking, here = [task.spec for task in missing(specs, bench)], collect(specs, bench)
        if lacking or len(specs) == len(records):
            return here, lacking
        records = here


def complete(plan: Plan, preset: str, bench: Bench) -> list[Record]:
    """Carry out a plan whose later specs depend on earlier records (tuning, then fresh seeds).

    ``plan(preset, records)`` returns all specs that can be named given the records so far; it is
    asked again until it names nothing new.
    """
    records: list[Record] = []
    while True:
        specs = plan(preset, records)
        if len(specs) == len(records):
            return records
        records = ensure(specs, bench, title=specs[0].tags.get("study", "runs"))
