"""What jobs do in the tests of the Slurm executor; a job imports it by name. Files say what was begun and done."""

import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

from regrad.results import run_id
from regrad.runner.ensure import Outcome, perform


class Errand(NamedTuple):
    """One task: a number, a folder to leave traces in, and the seconds it takes."""

    number: int
    folder: Path
    seconds: float = 0.0


def trace(folder: Path, event: str, name: Any) -> int:
    """Add a line to the diary, whole, whoever writes at the same time; return how often it stands there now."""
    line = f"{event} {name}"
    with (folder / "diary").open("a") as file:
        file.write(line + "\n")
    return diary(folder).count(line)


def diary(folder: Path) -> list[str]:
    path = folder / "diary"
    return path.read_text().splitlines() if path.exists() else []


def square(number: int) -> int:
    return number * number


def raise_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def visit(errand: Errand) -> int:
    trace(errand.folder, "begun", errand.number)
    time.sleep(errand.seconds)
    trace(errand.folder, "done", errand.number)
    return errand.number


def preempted_at_two(errand: Errand) -> int:
    """The first time that 2 is tried, Slurm wants the node back."""
    if trace(errand.folder, "begun", errand.number) == 1 and errand.number == 2:
        os.kill(os.getpid(), signal.SIGUSR2)
    trace(errand.folder, "done", errand.number)
    return errand.number


def die_at_two(errand: Errand) -> int:
    trace(errand.folder, "begun", errand.number)
    if errand.number == 2:
        os._exit(1)
    trace(errand.folder, "done", errand.number)
    return errand.number


def perform_and_die_once(task: Any) -> Outcome:
    """A run; but the process dies the first time that seed 2 is tried."""
    folder = task.bench.store.parent
    if trace(folder, "begun", task.spec.seed) == 1 and task.spec.seed == 2:
        os._exit(1)
    outcome = perform(task)
    assert outcome.run_id == run_id(task.spec, task.fingerprint)
    trace(folder, "done", task.spec.seed)
    return outcome
