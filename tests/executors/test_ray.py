"""The same runs on Ray: a local cluster or one that others started, with dead workers and dead drivers.

The expected bytes are those of the local executor; the expected losses are none.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from regrad.executors import ray as executor
from regrad.executors.choice import VARIABLE, ExecutorError, check, gives_gpus, map_tasks
from regrad.executors.ray import RETRIES, disconnect, map_ray
from regrad.runner.ensure import Bench, ensure
from tiny_runs import spec

pytest.importorskip("ray", reason="ray is not installed: pip install ray")

TESTS = Path(__file__).parents[1]
SECONDS = 120


@pytest.fixture(scope="module", autouse=True)
def _one_local_cluster_for_the_file():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "REGRAD_RAY_GPUS"):
            patch.delenv(name, raising=False)
        yield
        disconnect()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("topics")


def square(number):
    return number * number


def doze(seconds):
    time.sleep(seconds)
    return seconds


def seen(_):
    """What a worker finds: its threads, its folder, its process."""
    import torch

    return torch.get_num_threads(), os.getcwd(), os.getpid()


def note(task, word):
    folder, number, _ = task
    with (folder / "log").open("a") as file:
        file.write(f"{word} {number}\n")


def fragile(task):
    """Note begin and end; die in between where the task says so: for ever, or the first time."""
    folder, number, dies = task
    note(task, "begin")
    if dies == "ever" or (dies == "once" and not (folder / f"died {number}").exists()):
        (folder / f"died {number}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    note(task, "end")
    return number


def refuse(number):
    raise LookupError(f"no {number}")


def files(bench):
    return {p.name: p.read_bytes() for p in bench.store.glob("??/*.json") if "circumstances" not in p.name}


@pytest.mark.slow
def test_seven_tasks_are_done_once_each_in_workers_of_one_thread_that_see_our_folder(monkeypatch, tmp_path):
    answer = signal.getsignal(signal.SIGTERM)
    assert sorted(map_ray(square, list(range(7)), 2)) == [0, 1, 4, 9, 16, 25, 36]
    assert list(map_ray(square, [], 2)) == []
    monkeypatch.chdir(tmp_path)
    ((threads, folder, process),) = map_ray(seen, [None], 2)
    assert (threads, folder) == (1, str(tmp_path))
    assert process != os.getpid()
    assert signal.getsignal(signal.SIGTERM) is answer, "Ray's own would end the pipeline without its message"


@pytest.mark.slow
def test_what_a_function_raises_is_raised_here_and_the_next_call_works():
    with pytest.raises(LookupError, match="no 3"):
        list(map_ray(refuse, [3], 2))
    assert list(map_ray(square, [3], 2)) == [9]


@pytest.mark.slow
def test_what_waits_for_a_node_when_time_is_over_is_given_up_and_what_has_ended_is_not(monkeypatch):
    monkeypatch.setattr(executor, "QUEUED", 1.0)
    list(map_ray(square, [0], 2))  # the cluster stands
    began = time.monotonic()
    assert list(map_ray(doze, [0.0, 600.0], 2, time.time() + 4.0)) == [0.0]
    assert time.monotonic() - began < 60.0


def test_a_worker_that_dies_in_mid_sweep_loses_nothing_and_repeats_no_finished_task(tmp_path):
    tasks = [(tmp_path, number, "once" if number == 3 else "never") for number in range(7)]
    assert sorted(map_ray(fragile, tasks, 2)) == list(range(7))
    log = (tmp_path / "log").read_text().splitlines()
    assert {n: log.count(f"begin {n}") for n in range(7)} == {n: 2 if n == 3 else 1 for n in range(7)}
    assert [log.count(f"end {n}") for n in range(7)] == [1] * 7


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up_and_costs_the_others_nothing(tmp_path):
    tasks = [(tmp_path, number, "ever" if number == 1 else "never") for number in range(5)]
    assert sorted(map_ray(fragile, tasks, 2)) == [0, 2, 3, 4]
    log = (tmp_path / "log").read_text().splitlines()
    assert [log.count(f"begin {n}") for n in range(5)] == [1, 1 + RETRIES, 1, 1, 1]


@pytest.mark.slow
def test_records_are_those_of_the_local_executor_byte_for_byte(monkeypatch, tmp_path, cache):
    specs = [spec(seed=seed) for seed in range(3)]
    local, remote = (Bench(tmp_path / name, cache, "cpu", 2) for name in ("local", "ray"))
    expected = ensure(specs, local)
    monkeypatch.setenv(VARIABLE, "ray")
    assert ensure(specs, remote) == expected
    assert len(files(remote)) == 3
    assert files(remote) == files(local)


DRIVER = """
import sys
from pathlib import Path
from regrad.runner.ensure import Bench, ensure
from tiny_runs import spec
if __name__ == "__main__":
    specs = [spec(seed=seed, steps=150) for seed in range(7)]
    ensure(specs, Bench(Path(sys.argv[1]), Path(sys.argv[2]), "cpu", 2))
"""


def driver(store, cache, **variables):
    places = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    around = {**os.environ, VARIABLE: "ray", "PYTHONPATH": places, **variables}
    words = [sys.executable, "-c", DRIVER, str(store), str(cache)]
    return subprocess.Popen(words, env=around, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def at_work(processes):
    """Those that still run: a dead process that nobody waits for stays in the table as a zombie."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def identities(bench):
    """What tells a record that was left alone from one that was written again."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in bench.store.glob("??/*.json")}


@pytest.mark.slow
def test_a_driver_that_is_killed_takes_its_workers_along_and_the_next_repeats_no_finished_run(tmp_path, cache):
    bench = Bench(tmp_path / "runs", cache)
    first = driver(bench.store, cache)
    try:
        assert wait_for(lambda: len(files(bench)) >= 2)
        family = psutil.Process(first.pid).children(recursive=True)
        workers = [p for p in family if "ray::at" in p.cmdline()[:1]]
        assert workers
    finally:
        first.kill()
        first.wait()
    gone = wait_for(lambda: not at_work(workers), 30)
    for process in at_work(family):  # two agents of Ray's, idle, look for their dead head for a minute
        process.kill()
    assert gone
    kept = identities(bench)
    done = len(files(bench))
    assert 2 <= done < 7, "killed in mid-sweep"
    again = driver(bench.store, cache)
    _, said = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said.decode()
    assert len(files(bench)) == 7
    assert {name: identities(bench)[name] for name in kept} == kept


HEAD = """
import ray, time
started = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
print(started.address_info["gcs_address"], flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_cluster_that_others_started_elsewhere_gets_our_modules_folder_and_settings(tmp_path):
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ""}
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], cwd="/", env={**os.environ, **quiet}, stdout=subprocess.PIPE, text=True
    )
    try:
        address = head.stdout.readline().strip()
        with pytest.MonkeyPatch.context() as patch:
            disconnect()
            patch.setenv("RAY_ADDRESS", address)
            patch.chdir(tmp_path)
            assert sorted(map_ray(square, list(range(7)), 1)) == [0, 1, 4, 9, 16, 25, 36]
            ((threads, folder, _),) = map_ray(seen, [None], 1)
            assert (threads, folder) == (1, str(tmp_path))
            disconnect()
        assert head.poll() is None, "the cluster is not ours to end"
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.wait(SECONDS)
        wait_for(lambda: not at_work(family), 30)
        for process in at_work(family):
            process.kill()


def test_a_cluster_that_nobody_answers_for_is_named_in_one_line_at_once(monkeypatch):
    disconnect()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv(VARIABLE, "ray")
    for attempt in (lambda: check("cpu"), lambda: list(map_tasks(square, [1], 1))):
        with pytest.raises(ExecutorError, match=r"could not reach RAY_ADDRESS=127\.0\.0\.1:1: ") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["-0.5", "1.5", "nan", "inf", "quarter", ""])
def test_a_share_of_a_gpu_is_a_number_from_0_to_1(monkeypatch, value):
    monkeypatch.setenv("REGRAD_RAY_GPUS", value)
    monkeypatch.setenv(VARIABLE, "ray")
    with pytest.raises(ValueError, match=f"REGRAD_RAY_GPUS is '{value}'; allowed: .* from 0 to 1"):
        check("cpu")


def test_gpus_of_a_cluster_must_be_asked_for(monkeypatch):
    monkeypatch.setattr(executor, "knock", lambda: None)
    monkeypatch.setenv(VARIABLE, "ray")
    assert not gives_gpus()
    check("cuda")  # on this machine every worker sees all GPUs
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert not gives_gpus()
    with pytest.raises(ValueError, match="--device cuda: REGRAD_RAY_GPUS is 0; allowed with it on a cluster"):
        check("cuda")
    monkeypatch.setenv("REGRAD_RAY_GPUS", "0.25")
    check("cuda")
    assert gives_gpus()


@pytest.mark.parametrize("usual", ["/tmp", "/" + "long/" * 20 + "tmp"])
def test_the_clusters_folder_leaves_room_for_the_names_of_sockets(monkeypatch, usual):
    monkeypatch.setattr(executor.tempfile, "gettempdir", lambda: usual)
    made = Path(executor.folder())
    made.rmdir()
    assert len(str(made)) <= executor.LONGEST_FOLDER


@pytest.mark.slow
def test_a_node_that_lacks_our_folder_says_so(tmp_path):
    with pytest.raises(ExecutorError, match=f"has no {tmp_path}/none: Ray's nodes must share files"):
        executor.at(str(tmp_path / "none"), square, 3)
