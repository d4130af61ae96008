"""Runs on a Slurm cluster, through submitit: one job array a call, each element a chunk of tasks.

Whoever submits and the nodes must see the same files at the same paths (checkout, environment, data, results): the
tasks' function writes what it makes itself. ``REGRAD_SLURM_*`` says what a job asks for (`Settings`).

A preempted job, or one at its time limit, is requeued with what it has left. What a dead or cancelled job had begun
is missing from the outcomes, and the caller asks again. Jobs of a driver that died stop after the task they are at.
"""

import logging
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from regrad.executors.choice import QUEUED, ExecutorError
from regrad.executors.slurm_settings import Settings, settings

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

logger = logging.getLogger(__name__)

LARGEST_ARRAY = 1000  # Slurm's MaxArraySize is 1001 unless an administrator changed it
SIGNAL_SECONDS = 120  # between the signal to stop and the end: one training step and its checkpoint must fit
POLL_SECONDS = {"slurm": 2.0, "local": 0.1, "debug": 0.0}
GRACE_SECONDS = {"slurm": 15.0, "local": 0.5, "debug": 0.0}  # for a result to become visible on a shared disk


class Chunk(Generic[Task, Outcome]):
    """Tasks that one job does one after another; submitit asks it for what is left when the job is stopped.

    Args:
        function: What is done with each.
        tasks: What is to be done.
        wanted: A file; once it is gone nobody waits for the outcomes, and no further task is begun.
        found: What came of the first tasks before a requeue: the outcome, or nothing where a task raised.
    """

    def __init__(
        self,
        function: Callable[[Task], Outcome],
        tasks: list[Task],
        *,
        wanted: Path,
        found: tuple[list[Outcome], ...] = (),
    ) -> None:
        self.function, self.tasks, self.wanted = function, tasks, wanted
        self.found = list(found)
        self.stopped = False

    def __call__(self) -> list[Outcome]:
        """Do what is left; return the outcomes of all. A task that raises has none."""
        while len(self.found) < len(self.tasks) and self.wanted.exists():
            came = self._attempt(self.tasks[len(self.found)])
            if self.stopped:  # submitit refused to requeue by an exception: what came of it is no outcome
                break
            self.found.append(came)
        return [outcome for came in self.found for outcome in came]

    def _attempt(self, task: Task) -> list[Outcome]:
        try:
            return [self.function(task)]
        except Exception:
            logger.exception("a task failed")  # into the job's log; its neighbours go on
            return []

    def checkpoint(self) -> Any:
        """Return what submitit submits again: this chunk without what it has done."""
        from submitit.core.utils import DelayedSubmission

        self.stopped = True
        return DelayedSubmission(Chunk(self.function, self.tasks, wanted=self.wanted, found=tuple(self.found)))


def check(device: str) -> None:
    """Look whether jobs can be submitted from here.

    Raises:
        ValueError: A setting is wrong, or a GPU is wanted and none is asked for.
        ExecutorError: There is no Slurm here.
    """
    found = settings()
    if device == "cuda" and found.gpus == 0:
        raise ValueError("--device cuda: REGRAD_SLURM_GPUS is 0; allowed with it: an integer of at least 1")
    if found.cluster == "slurm":
        for program in ("sbatch", "srun", "sacct"):  # without sacct nobody learns that a job died
            if shutil.which(program) is None:
                lacks = f"the executor slurm needs {program}, which is not on PATH"
                raise ExecutorError(f"{lacks}: is this a Slurm cluster?")


def gives_gpus() -> bool:
    found = settings()
    return found.cluster == "slurm" and found.gpus > 0


def chunks(tasks: list[Task], workers: int, found: Settings) -> list[list[Task]]:
    """Deal tasks to jobs: at most ``found.chunk`` each if the array's size allows, and work for every worker."""
    size = math.ceil(len(tasks) / workers)
    if found.cluster == "slurm":  # elsewhere nothing limits how many jobs run at a time, but their number
        size = max(min(found.chunk, size), math.ceil(len(tasks) / LARGEST_ARRAY))
    count = math.ceil(len(tasks) / size)
    return [tasks[k::count] for k in range(count)]  # neighbours in a sweep take equally long: deal them out


def executor(folder: Path, workers: int, found: Settings) -> Any:
    from submitit import AutoExecutor

    retries = {f"{name}_max_num_timeout": found.requeues for name in ("slurm", "local")}
    made = AutoExecutor(folder, cluster=found.cluster, **retries)
    made.update_parameters(
        name="regrad",
        timeout_min=found.minutes,
        cpus_per_task=found.cpus,
        gpus_per_node=found.gpus,
        mem_gb=found.gigabytes,
        slurm_partition=found.partition,
        slurm_account=found.account,
        slurm_array_parallelism=workers,
        slurm_signal_delay_s=SIGNAL_SECONDS,
        slurm_additional_parameters={"requeue": True},
    )
    return made


def map_slurm(
    function: Callable[[Task], Outcome], tasks: list[Task], workers: int, until: float = math.inf
) -> Iterator[Outcome]:
    """Yield ``function(task)`` as jobs finish, in any order; at ``until`` those that are still queued are cancelled.

    Raises:
        ExecutorError: Nothing could be submitted; the message is what ``sbatch`` said.
    """
    if not tasks:
        return
    found = settings()
    above = submissions()
    end_orphans(above)
    folder = above / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns() % 1_000_000:06d}"
    folder.mkdir(parents=True)
    wanted = folder / "driver"
    wanted.write_text(f"{socket.gethostname()} {os.getpid()} {found.cluster}\n")
    jobs: list[Any] = []
    lost = True
    try:
        parts = [Chunk(function, part, wanted=wanted) for part in chunks(tasks, workers, found)]
        jobs += submit(executor(folder, workers, found), parts)
        with wanted.open("a") as file:
            file.writelines(f"{job.job_id}\n" for job in jobs)
        lost = yield from collect(jobs, found.cluster, until)
    finally:
        wanted.unlink(missing_ok=True)
        cancel(jobs, found.cluster)  # those left: none, unless this was interrupted or time was over
        if not lost:
            shutil.rmtree(folder, ignore_errors=True)


def submit(made: Any, parts: list[Chunk[Task, Outcome]]) -> list[Any]:
    """Submit all chunks as one array; return its jobs."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        return made.submit_array(parts)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ExecutorError(f"the executor slurm could not submit its jobs: {said}") from error


def collect(jobs: list[Any], cluster: str, until: float) -> Generator[Any, None, bool]:
    """Yield outcomes as jobs end, taking the jobs off the list; return whether any job ended without a result.

    Jobs that are queued when time is over stay on the list.
    """
    ended: dict[str, float] = {}
    lost = False
    while jobs and time.time() < until + QUEUED:
        for job in list(jobs):
            if not job.done():
                continue
            if cluster == "debug" or job.paths.result_pickle.exists():
                yield from outcomes(job)
            elif time.monotonic() - ended.setdefault(job.job_id, time.monotonic()) < GRACE_SECONDS[cluster]:
                continue
            else:
                logger.warning("job %s ended without a result; its log is in %s", job.job_id, job.paths.folder)
                cancel([job], cluster)  # Slurm might start it again, after a node failed
                lost = True
            jobs.remove(job)
        if jobs:
            time.sleep(POLL_SECONDS[cluster])
    return lost


def outcomes(job: Any) -> list[Any]:
    from submitit.core.utils import UncompletedJobError

    try:
        return job.result()
    except UncompletedJobError as error:
        logger.warning("job %s failed: %s", job.job_id, str(error).strip().splitlines()[-1])
        return []


def cancel(jobs: list[Any], cluster: str) -> None:
    """Cancel jobs; those that have ended do not mind."""
    if cluster == "slurm" and jobs:
        scancel([job.job_id for job in jobs])
        return
    for job in jobs:
        job.cancel(check=False)


def scancel(names: list[str]) -> None:
    if shutil.which("scancel"):
        subprocess.run(["scancel", *names], check=False, stdout=sys.stderr)


def submissions() -> Path:
    """Return the folder of all submissions: ``$REGRAD_SLURM_FOLDER``, or ``slurm`` in the nearest ``results``."""
    if chosen := os.environ.get("REGRAD_SLURM_FOLDER"):
        return Path(chosen).expanduser().absolute()
    here = Path.cwd()
    near = (above / "results" for above in (here, *here.parents))
    return next((folder for folder in near if folder.is_dir()), here / "results") / "slurm"


def end_orphans(above: Path) -> None:
    """End what drivers of this machine left when they were killed: their jobs would repeat our tasks."""
    for wanted in sorted(above.glob("*/driver")):
        head, *names = wanted.read_text().splitlines() or [""]
        host, process, cluster = [*head.split(), "", "", ""][:3]
        if host == socket.gethostname() and not Path(f"/proc/{process or 'self'}").exists():
            wanted.unlink(missing_ok=True)
            if cluster == "slurm" and names:
                scancel(names)
