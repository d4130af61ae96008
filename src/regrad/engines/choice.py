"""Which engine carries out a list of tasks: processes here, Ray, or Slurm.

The command line's ``--engine`` sets the environment variable, so that notebooks, which run in processes of
their own, use the same engine.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

VARIABLE = "REGRAD_ENGINE"
ENGINES = {
    "local": "regrad.engines.local:map_local",
    "ray": "regrad.engines.ray:map_ray",
    "slurm": "regrad.engines.slurm:map_slurm",
}


def chosen() -> str:
    """Return the name of the engine in force.

    Raises:
        ValueError: The variable names none.
    """
    name = os.environ.get(VARIABLE, "local")
    if name not in ENGINES:
        raise ValueError(f"{VARIABLE} is {name!r}; allowed: {', '.join(ENGINES)}")
    return name


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
