"""Which engine carries out a list of tasks: processes here, Ray, or Slurm.

The command line's ``--engine`` sets the environment variable, so that notebooks, which run in processes of
their own, use the same engine.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

VARIABLE = "REGRAD_ENGINE"
ENGINES = {
    "local": "regrad.engines.local:map_local",
    "ray": "regrad.engines.ray:map_ray",
    "slurm": "regrad.engines.slurm:map_slurm",
}
PACKAGES = {"ray": "ray", "slurm": "submitit"}  # and the extra of ours that brings it has the engine's name


class EngineError(RuntimeError):
    """An engine cannot be used here, or broke down as a whole; the message is one line."""


def chosen() -> str:
    """Return the name of the engine in force.

    Raises:
        ValueError: The variable names none.
    """
    name = os.environ.get(VARIABLE, "local")
    if name not in ENGINES:
        raise ValueError(f"{VARIABLE} is {name!r}; allowed: {', '.join(ENGINES)}")
    return name


def part(attribute: str) -> Any:
    """Return an attribute of the module of the engine in force, None if it has no such thing."""
    return getattr(importlib.import_module(ENGINES[chosen()].split(":")[0]), attribute, None)


def check(device: str) -> None:
    """Look, before any work, whether the engine in force can be used here.

    Raises:
        ValueError: It is unknown, or one of its settings is wrong.
        EngineError: A package or program is missing.
    """
    name = chosen()
    package = PACKAGES.get(name)
    if package and find_spec(package) is None:
        raise EngineError(f"the engine {name} needs {package}, which is not installed: pip install regrad[{name}]")
    if look := part("check"):
        look(device)


def gives_gpus() -> bool:
    """Return whether the engine in force runs on other machines that have GPUs, whatever is here."""
    name = chosen()
    if name == "local" or find_spec(PACKAGES[name]) is None:
        return False
    ask = part("gives_gpus")
    return bool(ask and ask())


def map_tasks(function: Callable[[Task], Outcome], tasks: list[Task], workers: int) -> Iterator[Outcome]:
    """Yield ``function(task)`` as they finish, in any order, on the engine in force.

    What a dead worker had begun may be missing from the result: the caller asks again for what it lacks.

    Args:
        function: Importable by name, free of state; writes what it makes itself.
        tasks: What it is given, each picklable.
        workers: How many at a time, at least 1.
    """
    module, name = ENGINES[chosen()].split(":")
    yield from getattr(importlib.import_module(module), name)(function, tasks, workers)
