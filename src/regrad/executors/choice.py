"""Which executor carries out a list of tasks: processes here, Ray, or Slurm.

The command line's ``--executor`` sets the environment variable, so that notebooks, which run in processes of
their own, use the same executor.
"""

import importlib
import math
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

VARIABLE, FORMER = "REGRAD_EXECUTOR", "REGRAD_ENGINE"  # its name before version 0.2, which still works
EXECUTORS = {
    "local": "regrad.executors.local:map_local",
    "ray": "regrad.executors.ray:map_ray",
    "slurm": "regrad.executors.slurm:map_slurm",
}
QUEUED = 30.0  # seconds: more than a task that is at work takes to stop and to say so
PACKAGES = {"ray": "ray", "slurm": "submitit"}


class ExecutorError(RuntimeError):
    """An executor cannot be used here, or broke down as a whole; the message is one line."""


def chosen() -> str:
    """Return the name of the executor in force (ValueError: the variable names none)."""
    variable = FORMER if VARIABLE not in os.environ and FORMER in os.environ else VARIABLE
    name = os.environ.get(variable, "local")
    if name not in EXECUTORS:
        raise ValueError(f"{variable} is {name!r}; allowed: {', '.join(EXECUTORS)}")
    return name


def part(attribute: str) -> Any:
    """Return an attribute of the module of the executor in force, None if it has no such thing."""
    return getattr(importlib.import_module(EXECUTORS[chosen()].split(":")[0]), attribute, None)


def check(device: str) -> None:
    """Look, before any work, whether the executor in force can be used here.

    Raises:
        ValueError: It is unknown, or one of its settings is wrong.
        ExecutorError: A package or program is missing.
    """
    name = chosen()
    package = PACKAGES.get(name)
    if package and find_spec(package) is None:
        raise ExecutorError(f"the executor {name} needs {package}, which is not installed: pip install {package}")
    if look := part("check"):
        look(device)


def gives_gpus() -> bool:
    """Return whether the executor in force runs on other machines that have GPUs, whatever is here."""
    name = chosen()
    if name == "local" or find_spec(PACKAGES[name]) is None:
        return False
    ask = part("gives_gpus")
    return bool(ask and ask())


def map_tasks(
    function: Callable[[Task], Outcome], tasks: list[Task], workers: int, until: float = math.inf
) -> Iterator[Outcome]:
    """Yield ``function(task)`` as they finish, in any order, on the executor in force.

    What a dead worker had begun may be missing from the result: the caller asks again for what it lacks.

    Args:
        function: Importable by name, free of state; writes what it makes itself.
        tasks: What it is given, each picklable.
        workers: How many at a time, at least 1.
        until: When time is over, as `time.time` has it. Tasks keep to it themselves; what a cluster has not even begun
            or not ended `QUEUED` seconds later is cancelled, and is missing from the result.
    """
    module, name = EXECUTORS[chosen()].split(":")
    yield from getattr(importlib.import_module(module), name)(function, tasks, workers, until)
