"""Runs on Ray: the cluster that ``RAY_ADDRESS`` names, else one that this process starts on this machine.

Whoever asks and the nodes must see the same files at the same paths (checkout, environment, data, results): the
tasks' function writes what it makes itself, and only what it returns travels through Ray.

A task whose worker or node died is tried again by Ray, `RETRIES` times; after that its outcome is missing, and the
caller asks again. Workers end with the process that asked for them, however it ends.
"""

import atexit
import importlib
import logging
import math
import os
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from regrad.executors.choice import QUEUED, VARIABLE, ExecutorError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

ADDRESS = "RAY_ADDRESS"
GPUS = "REGRAD_RAY_GPUS"
RETRIES = 2
OBJECT_STORE = 80 * 2**20  # bytes; Ray refuses less than 75 MiB, and outcomes are a few hundred
KNOCK_SECONDS = 10.0
LONGEST_FOLDER = 40  # a socket's path may have 107 characters, of which Ray takes up to 64 below its folder
SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # sends nothing to anybody
    "RAY_task_oom_retries": str(RETRIES),  # otherwise a run too large for its node is tried for ever
}

_local: dict[str, Any] = {}  # of the cluster that this process started: how it was asked for, and its folder


def gpus() -> float:
    """Return the share of a GPU that a run takes, 0 to 1: ``REGRAD_RAY_GPUS``, 0 if unset (else ValueError)."""
    word = os.environ.get(GPUS, "0")
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{GPUS} is {word!r}; allowed: the share of a GPU that a run takes, a number from 0 to 1")
    return value


def elsewhere() -> bool:
    """Return whether ``RAY_ADDRESS`` names a cluster that others started."""
    return os.environ.get(ADDRESS, "local") not in ("", "local")


def check(device: str) -> None:
    """Look whether the settings go together and somebody answers at ``RAY_ADDRESS``.

    Raises:
        ValueError: A setting is wrong, or a GPU of a cluster is wanted and none is asked for.
        ExecutorError: Nobody answers.
    """
    if gpus() == 0 and device == "cuda" and elsewhere():
        raise ValueError(f"--device cuda: {GPUS} is 0; allowed with it on a cluster: more than 0, at most 1")
    knock()


def knock() -> None:
    """Refuse a ``RAY_ADDRESS`` with a port at which nobody listens: Ray itself would ask for minutes."""
    host, colon, port = os.environ.get(ADDRESS, "").rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return  # "auto" and the like: Ray looks for files
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ExecutorError(f"the executor ray could not reach {ADDRESS}={os.environ[ADDRESS]}: {error}") from error


def gives_gpus() -> bool:
    return elsewhere() and gpus() > 0


def map_ray(
    function: Callable[[Task], Outcome], tasks: list[Task], workers: int, until: float = math.inf
) -> Iterator[Outcome]:
    """Yield ``function(task)`` as they finish, in any order; at ``until`` what still waits for a node is given up.

    A local cluster serves this process until it ends, or asks for another number of workers; on a cluster that others
    started its free CPUs decide how many work at a time.

    Raises:
        ExecutorError: There is no such cluster, it has no GPU, or a node sees other files.
    """
    if not tasks:
        return
    share = gpus()
    ray = connect(workers)
    if share and not elsewhere() and not ray.cluster_resources().get("GPU"):
        raise ExecutorError(f"{GPUS} is {share:g}, and Ray finds no GPU on this machine")
    remote = ray.remote(num_cpus=1, num_gpus=share, max_retries=RETRIES)(at)
    waiting = iter(tasks)
    running: list[Any] = []
    try:
        while True:
            width = 2 * int(ray.cluster_resources().get("CPU", 1)) if elsewhere() else workers
            new = islice(waiting, max(0, width - len(running)))
            running += [remote.remote(os.getcwd(), function, task) for task in new]
            if not running:
                return
            left = until + QUEUED - time.time()
            done, running = ray.wait(running, timeout=None if left == math.inf else max(0.0, left))
            if not done:
                return
            yield from outcomes(done)
    finally:
        for task in running:  # none, unless this was interrupted or time was over
            ray.cancel(task, force=True)


def at(folder: str, function: Callable[[Task], Outcome], task: Task) -> Outcome:
    """Run ``function(task)`` in a worker, in the folder of whoever asked: paths in tasks may be relative."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise ExecutorError(f"{os.uname().nodename} has no {folder}: Ray's nodes must share files") from error
    return function(task)


def outcomes(done: list[Any]) -> Iterator[Any]:
    """Yield what came of finished tasks: nothing where the worker died too often.

    Raises:
        Exception: What the function raised.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    for one in done:
        try:
            outcome = ray.get(one)
        except RayTaskError as error:
            raise (error.cause or error) from error
        except RayError as error:
            logging.getLogger(__name__).warning("a run got lost: %s", str(error).partition("\n")[0])
        else:
            yield outcome


def connect(workers: int) -> Any:
    """Return the module ``ray``, connected: as it is already, to ``RAY_ADDRESS``, or to a cluster started here."""
    asked = {"workers": workers, "variables": variables()}
    with environment(SILENT), handlers():
        ray = importlib.import_module("ray")
        if ray.is_initialized() and (not _local or _local["asked"] == asked):
            return ray
        disconnect()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if elsewhere():
                knock()
                ray.init(os.environ[ADDRESS], runtime_env={"env_vars": asked["variables"]}, **options)
            else:
                start(ray, asked, options)
        except ExecutorError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            disconnect()
            where = f"reach {ADDRESS}={os.environ[ADDRESS]}" if elsewhere() else "start a cluster on this machine"
            raise ExecutorError(f"the executor ray could not {where}: {' '.join(str(error).split())}") from error
    return ray


def start(ray: Any, asked: dict[str, Any], options: dict[str, Any]) -> None:
    """Start a cluster of this machine's: it inherits the variables, which takes less time than sending them."""
    atexit.register(disconnect)
    _local.update(asked=asked, folder=folder())
    with environment(asked["variables"]):
        ray.init(
            "local",
            num_cpus=asked["workers"],
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            _temp_dir=_local["folder"],
            **options,
        )


def disconnect() -> None:
    """Leave Ray; end the local cluster, with everything that it runs, and remove its folder."""
    if "ray" in sys.modules:
        with handlers():
            sys.modules["ray"].shutdown()
    if _local:
        shutil.rmtree(_local.pop("folder"), ignore_errors=True)
    _local.clear()
    atexit.unregister(disconnect)


def folder() -> str:
    """Return a new folder whose name leaves room for the names of Ray's sockets."""
    usual = tempfile.gettempdir()
    above = usual if len(usual) <= LONGEST_FOLDER - 20 else "/tmp"  # noqa: S108 # nosec B108 - mkdtemp makes an unguessable name
    return tempfile.mkdtemp(prefix="regrad-ray-", dir=above)


def variables() -> dict[str, str]:
    """Return what workers have in their environment: one thread each, our modules and our settings."""
    installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    ours = [str(Path(entry).absolute()) for entry in sys.path if not entry.startswith(installed)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    settings = {k: v for k, v in os.environ.items() if k.startswith("REGRAD_") and k not in (VARIABLE, GPUS)}
    return {"PYTHONPATH": os.pathsep.join(ours), **threads, **settings}


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def handlers() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray would replace by its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
