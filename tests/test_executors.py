"""Where runs execute: all tasks in any order, a dead worker noticed, no worker that outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from regrad.executors.local import map_local, worker_count


def square(number):
    return number * number


def process_of(_):
    return os.getpid()


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize(
    ("jobs", "device", "workers"),
    [(3, "cpu", 3), (3, "cuda", 3), (0, "cuda", 1), (0, "cpu", len(os.sched_getaffinity(0)))],
)
def test_jobs_mean_processes_and_zero_means_one_a_core_or_one_on_a_gpu(jobs, device, workers):
    assert worker_count(jobs, device) == workers


def test_one_worker_or_one_task_needs_no_other_process():
    assert list(map_local(process_of, [1, 2], 1)) == [os.getpid()] * 2
    assert list(map_local(process_of, [1], 4)) == [os.getpid()]
    assert list(map_local(square, [], 1)) == []


def test_workers_do_every_task_once_in_other_processes():
    assert sorted(map_local(square, list(range(7)), 2)) == [0, 1, 4, 9, 16, 25, 36]
    assert os.getpid() not in set(map_local(process_of, [1, 2, 3], 2))


def test_a_worker_that_is_killed_costs_unfinished_tasks_and_raises_nothing():
    found = list(map_local(die_at_three, list(range(6)), 2))
    assert 3 not in found
    assert set(found) <= {0, 1, 2, 4, 5}
    assert sorted(map_local(square, [1, 2], 2)) == [1, 4], "the next call has new workers"


PARENT = """
import sys, time
from regrad.executors.local import map_local
def wait(number):
    open(f"{sys.argv[1]}/{number}", "w").close()
    time.sleep(600)
    return number
list(map_local(wait, [1, 2], 2))
"""


def at_work(processes):
    """Those that still run: a dead process that nobody waits for stays in the table as a zombie."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_workers_are_gone_two_seconds_after_their_parent_was_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: len(list(tmp_path.iterdir())) == 2, 60)
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert len(workers) >= 2
    finally:
        parent.kill()
        parent.wait()
    gone = wait_for(lambda: not at_work(workers), 2)
    for process in at_work(workers):
        process.kill()
    assert gone
