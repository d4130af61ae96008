"""``--bless SET``: repeat a sample of published runs under today's code; where all agree, extend the set's freshness.

The sample is fixed by the set and its chain, not by whoever blesses. Of every (study, part, arm) the cheapest run of
each code, and of every code so at least one, is begun; whole runs follow by a lottery whose seed is the chain's
last hash, for as long as there is time.
"""

import datetime
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rich.console import Console

from regrad import blessing
from regrad.archive import opened
from regrad.blessing import Chain, Extension, Link
from regrad.executors.choice import map_tasks
from regrad.executors.local import worker_count
from regrad.exits import DONE, FAILED
from regrad.pipeline.folders import Folders
from regrad.pipeline.targets import plan_of
from regrad.provenance import commit
from regrad.results import Fingerprint, Record
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import published, reached
from regrad.runner.progress import SweepProgress
from regrad.runner.repeat import Repeat, Repeated, repeat
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Study

MINUTES = 1.0  # for whole runs, where none are given


class Published(NamedTuple):
    """A record of a published set, in one of its places in a plan.

    Attributes:
        record: With its spec's tags.
        now: Today's fingerprint of its spec.
    """

    record: Record
    now: Fingerprint

    @property
    def place(self) -> tuple[str, str, str]:
        """Study, part and arm."""
        tags = self.record.spec.tags
        return tags["study"], tags.get("part", ""), tags["arm"]

    @property
    def codes(self) -> tuple[str, str]:
        """The code that made it and today's."""
        return self.record.fingerprint.code, self.now.code


def published_runs(folders: Folders, name: str, studies: Iterable[Study] = STUDIES) -> list[Published]:
    """Return the records of a set as the studies' plans name them; a run that two parts share is there for each."""
    preset, device = name.split("-")
    records = published(folders.root / "results" / "reference" / name / "runs")
    plans = filter(None, map(plan_of, studies))
    kept = [record for plan in plans for record in reached(plan, preset, lambda spec: records.get(spec.key()))[0]]
    return [Published(record, fingerprint(record.spec, device)) for record in kept]


def published_sentence(folders: Folders, study: Study, preset: str, device: str) -> str:
    """Return how the published runs of a study stand to today's code, in words; nothing where none are published."""
    name = f"{preset}-{device}"
    folder = folders.root / "results" / "reference" / name
    runs = published_runs(folders, name, [study]) if (folder / "runs").is_dir() else []
    return f"published {name}: {sentence(runs, blessing.read(folder))}" if runs else ""


def standing_of(run: Published, chain: Chain) -> str:
    """Return ``"today's"``, ``"blessed"``, ``"other code"`` or ``"other surroundings"`` (data, torch, device)."""
    old, new = run.record.fingerprint, run.now
    if old == new:
        return "today's"
    if old.model_copy(update={"code": new.code}) != new:
        return "other surroundings"
    return "blessed" if chain.reaches(old.code, new.code) else "other code"


def sample(stale: Iterable[Published], seconds: Mapping[str, float]) -> list[Published]:
    """Return, of each place and code, the run whose beginning costs least; ties by name."""
    cheapest: dict[tuple[object, ...], tuple[float, str, Published]] = {}
    for run in stale:
        name = run.record.run_id
        cost = seconds.get(name, 0.0) / run.record.spec.evaluations
        key = (run.place, run.codes)
        if key not in cheapest or (cost, name) < cheapest[key][:2]:
            cheapest[key] = (cost, name, run)
    return list({run.record.run_id: run for _, _, run in cheapest.values()}.values())


def lottery(stale: Iterable[Published], seed: str) -> list[Published]:
    """Return the runs in an order that follows from their names and ``seed`` alone."""
    unique = {run.record.run_id: run for run in stale}
    return [unique[name] for name in sorted(unique, key=lambda n: hashlib.sha256(f"{seed} {n}".encode()).hexdigest())]


class Blessing:
    """One call of ``--bless``.

    Args:
        folders: The checkout.
        name: The set, ``<preset>-<device>``.
        jobs: Processes; 0 is one a core.
        minutes: For whole runs, after the beginnings.
    """

    def __init__(self, folders: Folders, name: str, *, jobs: int = 0, minutes: float = MINUTES) -> None:
        self.folders, self.name, self.jobs, self.minutes = folders, name, jobs, minutes
        self.folder = folders.root / "results" / "reference" / name
        self.console = Console(file=sys.stderr, highlight=False)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def run(self) -> int:
        """Repeat, compare, and write the chain's next link for every code whose sample agrees; return the exit code."""
        chain = blessing.read(self.folder)
        runs = published_runs(self.folders, self.name)
        stale = [run for run in runs if standing_of(run, chain) == "other code"]
        if not stale:
            self.say(f"{self.name}: nothing to bless: {sentence(runs, chain)}")
            return DONE
        repeated = self.repeat(stale, chain)
        differ = {outcome.run_id: outcome.difference for outcome in repeated if outcome.difference}
        refused = {run.codes for run in stale if run.record.run_id in differ}
        kept = extensions([run for run in stale if run.codes not in refused], repeated)
        if kept:
            blessing.append(self.folder, self.link(chain, kept))
        self.report(stale, kept, differ)
        return FAILED if refused else DONE

    def repeat(self, stale: list[Published], chain: Chain) -> list[Repeated]:
        """Repeat the sample's beginnings, then whole runs until the time is over."""
        store = opened(self.folder / "runs")
        times = {r.record.run_id: t.seconds for r in stale if (t := store.circumstances(r.record.run_id)) is not None}
        self.say(f"{self.name}: {len({r.record.run_id for r in stale})} runs were made by other code")
        begun = self.carry_out("beginnings", [self.task(run, whole=False) for run in sample(stale, times)])
        workers = worker_count(self.jobs, "cpu")
        left = self.minutes * 60 * workers
        drawn: list[Repeat] = []
        for run in lottery(stale, chain.links[-1].digest() if chain.links else self.name):
            left -= times.get(run.record.run_id, 0.0) * 1.2
            if left < 0 and drawn:
                break
            drawn.append(self.task(run, whole=True))
        return begun + self.carry_out("whole runs", drawn)

    def task(self, run: Published, *, whole: bool) -> Repeat:
        """Return what a worker is given."""
        return Repeat(run.record, self.folders.cache, whole)

    def carry_out(self, title: str, tasks: list[Repeat]) -> list[Repeated]:
        """Repeat runs in worker processes; one that a worker took along when it died is tried again."""
        outcomes: dict[str, Repeated] = {}
        with SweepProgress(title, [0.0] * len(tasks)) as progress:
            for _ in range(3):
                waiting = [task for task in tasks if task.record.run_id not in outcomes]
                if not waiting:
                    break
                for outcome in map_tasks(repeat, waiting, worker_count(self.jobs, "cpu")):
                    outcomes[outcome.run_id] = outcome
                    progress.advance("failed" if outcome.difference else "finished")
        lost = [task.record.run_id for task in tasks if task.record.run_id not in outcomes]
        dead = [Repeated(name, False, 0.0, "its worker process was killed three times") for name in lost]
        return [*outcomes.values(), *dead]

    def link(self, chain: Chain, kept: list[Extension]) -> Link:
        """Return the chain's next link."""
        import torch

        from regrad.runner.circumstances import processor

        previous = chain.links[-1].digest() if chain.links else blessing.anchor(opened(self.folder / "runs").names())
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        about = {"date": today, "commit": commit(), "torch": torch.__version__, "machine": processor()}
        return Link(previous=previous, extensions=tuple(kept), **about)

    def report(self, stale: list[Published], kept: list[Extension], differ: Mapping[str, str]) -> None:
        """Say what was extended, what was refused and where it differs first."""
        for run in {run.record.run_id: run for run in stale if run.record.run_id in differ}.values():
            study, part, arm = run.place
            where = " ".join(filter(None, (study, part, arm, f"seed {run.record.spec.seed}")))
            self.say(f"refused: code {run.codes[0]}: {where}: {differ[run.record.run_id]}")
        begun, whole = sum(len(e.begun) for e in kept), sum(len(e.whole) for e in kept)
        runs = sum(extension.runs for extension in kept)
        how = f"{whole} repeated whole, {begun} begun, equal to the bit"
        self.say(f"{self.name}: {runs} runs extended to today's code: {how}")


def extensions(agreed: Iterable[Published], repeated: Iterable[Repeated]) -> list[Extension]:
    """Return an extension for each pair of codes of which a run was repeated."""
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in agreed:
        names[run.codes].add(run.record.run_id)
    begun = {outcome.run_id for outcome in repeated if not outcome.whole}
    whole = {outcome.run_id for outcome in repeated if outcome.whole}
    return [
        Extension(
            old=old,
            new=new,
            runs=len(runs),
            begun=tuple(sorted(runs & begun - whole)),
            whole=tuple(sorted(runs & whole)),
        )
        for (old, new), runs in sorted(names.items())
    ]


def sentence(runs: Iterable[Published], chain: Chain) -> str:
    """Return how a set's runs stand to today's code, in words."""
    standings = {run.record.run_id: standing_of(run, chain) for run in runs}
    counts = Counter(standings.values())
    repeated = Counter(
        how.split()[0] for name, how in chain.repeated().items() if standings.get(name) == "blessed"
    )
    date = chain.links[-1].date if chain.links else ""
    how = f"{repeated['whole']} were repeated whole and {repeated['begun']} for some steps, equal to the bit ({date})"
    parts = {
        "today's": "made by today's code",
        "blessed": f"made by earlier code, of which under today's {how}",
        "other code": "made by other code and not repeated under today's",
        "other surroundings": "made with other data, torch or device",
    }
    said = [f"{counts[kind]} {words}" for kind, words in parts.items() if counts[kind]]
    return f"{len(standings)} runs: {'; '.join(said)}" if standings else "no runs"
