"""Why a target will or will not run: runs, notebook, code, settings and outputs, each fresh or not; and how long."""

from collections import Counter
from functools import cached_property
from typing import NamedTuple

from regrad.archive import opened
from regrad.pipeline.bless import published_sentence
from regrad.pipeline.folders import Folders
from regrad.pipeline.freshness import Freshness
from regrad.pipeline.inputs import notebook_parts
from regrad.pipeline.sweep import times_of
from regrad.pipeline.targets import plan_of
from regrad.results import Fingerprint, Record, Spec
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import Bench, Plan, complete, known
from regrad.runner.progress import duration
from regrad.runner.timing import Times
from regrad.studies.study import Study

NOTEBOOK_SECONDS = 10.0  # of executing one, about, where nothing says more
SHOWN = 6


class State(NamedTuple):
    """How a target stands.

    Attributes:
        records: Those that are there.
        missing: Specs that have to run now; what follows from their results is not known yet.
        reason: Why its notebook has to be executed, None if not.
        seconds: Expected seconds of one process for the missing runs, None where no run of their problems was timed.
        causes: Why runs are missing, and how many each.
        published: How the published set's runs of this study stand to today's code, in words; empty without a set.
    """

    records: list[Record]
    missing: list[Spec]
    reason: str | None
    seconds: float | None
    causes: Counter[str]
    published: str = ""


def cause(spec: Spec, past: dict[str, list[Fingerprint]], bench: Bench) -> str:
    """Return why a spec has no record: never run, or which part of the fingerprint of its last run changed."""
    now = fingerprint(spec, bench.device)
    before = past.get(spec.key(), [])
    if not before:
        return "never run here"
    differ = [{n for n in Fingerprint.model_fields if getattr(f, n) != getattr(now, n)} for f in before]
    fewest = min(differ, key=len)
    return "changed since: " + ", ".join(sorted(fewest))


class History:
    """What was run before; read when it is asked for.

    Args:
        folders: The checkout.
    """

    def __init__(self, folders: Folders) -> None:
        self.folders = folders

    @cached_property
    def times(self) -> Times:
        """What runs took."""
        return times_of(self.folders)

    @cached_property
    def fingerprints(self) -> dict[str, list[Fingerprint]]:
        """Those of the runs that are kept, by what their specs mean."""
        past: dict[str, list[Fingerprint]] = {}
        for record in opened(self.folders.runs):
            past.setdefault(record.spec.key(), []).append(record.fingerprint)
        return past


def named(plan: Plan, preset: str, bench: Bench, *, published: bool) -> tuple[list[Record], list[Spec]]:
    """Return a plan's records and what would have to run: of a published set nothing, what it lacks is waited for."""
    return (complete(plan, preset, bench), []) if published else known(plan, preset, bench)


def standing(
    folders: Folders, target: Study, parameters: dict[str, object], bench: Bench, history: History | None = None
) -> State:
    """Return how a target stands, without running anything."""
    history = history or History(folders)
    plan = plan_of(target)
    preset = str(parameters["preset"])
    records, missing = named(plan, preset, bench, published=folders.published is not None) if plan else ([], [])
    causes: Counter[str] = Counter()
    seconds = None
    if missing:
        causes = Counter(cause(spec, history.fingerprints, bench) for spec in missing)
        seconds = history.times.total(missing)
    parts = notebook_parts(folders, target, parameters, records)
    reason = Freshness(folders.state, folders.root).why_stale(target.name, parts)
    if missing:
        reason = f"{len(missing)} of its runs are missing"
    return State(records, missing, reason, seconds, causes, published_sentence(folders, target, preset, bench.device))


def in_a_line(target: Study, state: State) -> str:
    """Return a target's line of ``--list``."""
    text = f"{target.name}: {'fresh' if state.reason is None else 'stale, ' + state.reason}"
    if state.missing:
        text += f" ({len(state.records)} are there)"
        text += f", about {duration(state.seconds)} of one process" if state.seconds is not None else ""
    if plan_of(target) is None:
        return f"{text}; it has no runs of its own"
    return f"{text}; {state.published}" if state.published else text


def explained(target: Study, state: State) -> list[str]:
    """Return the lines of ``--explain``."""
    runs = len(state.missing)
    if state.reason is None:
        head = f"{target.name}: nothing will run: everything it was made from, and all it made, is as it was"
    else:
        what = f"{runs} runs, then its notebook" if runs else "its notebook, and no training"
        head = f"{target.name}: will run: {what}"
    lines = [head]
    if plan_of(target):
        lines.append(f"  runs: {len(state.records)} are there, {runs} missing" + ("" if runs else ": fresh"))
    lines += [f"  {state.published}"] if state.published else []
    lines += [f"    {count} × {why}" for why, count in state.causes.most_common()]
    for spec in state.missing[:SHOWN]:
        lines.append(f"    {spec.problem.name}, {spec.optimizer.name}, seed {spec.seed}, {spec.steps} steps")
    if runs > SHOWN:
        lines.append(f"    … and {runs - SHOWN} more; tuning decides what follows them")
    if state.reason is None or runs:
        lines.append("  notebook: " + ("fresh" if not runs else "follows its runs"))
    else:
        lines.append(f"  notebook: {state.reason}")
    if state.reason is not None:
        training = state.seconds if runs else 0.0
        unknown = "unknown: no run of this kind was ever made here"
        time = unknown if training is None else f"{duration(training + NOTEBOOK_SECONDS)} of one process"
        lines.append(f"  expected: {time}")
    return lines
