"""Runs on one GPU: one of each kind alone until its memory is measured, then as many at a time as fit."""

import os
import sys
import time

import pytest

from regrad.executors import gpu_memory
from regrad.executors.gpu_memory import CONTEXT, fitting, free_bytes
from regrad.results import Circumstances, run_id
from regrad.runner.ensure import Bench, Outcome, Task, carry_out
from regrad.runner.sharing import portions
from regrad.store import Store
from tiny_runs import FINGERPRINT, record, sgd, spec

GPU = FINGERPRINT.model_copy(update={"device": "cuda"})
GIB = 1 << 30


def task(store, **changes):
    return Task(spec(**changes), GPU, Bench(store.root, store.root, "cuda"))


def measure(store, peak, **changes):
    of = spec(**changes)
    done = record(of, fingerprint=GPU, run_id=run_id(of, GPU))
    store.put(done, Circumstances(seconds=1.0, peak_bytes=peak, threads=1, commit="c", machine="a GPU"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("regrad.runner.sharing.free_bytes", lambda: 16 * GIB)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    return Store(tmp_path)


@pytest.mark.parametrize(("peaks", "free", "cores", "workers"), [
    ([GIB], 16 * GIB, 12, 6),  # 14.4 GiB over 0.68 + 1.5
    ([GIB, 4 * GIB], 16 * GIB, 12, 2),
    ([0], 16 * GIB, 12, 12),
    ([40 * GIB], 16 * GIB, 12, 1),
    ([GIB], 0, 12, 1),
])  # fmt: skip
def test_as_many_fit_as_would_if_all_were_the_largest(peaks, free, cores, workers):
    assert fitting(peaks, free, cores) == workers
    assert workers == 1 or workers * (CONTEXT + 1.5 * max(peaks)) <= free


def test_one_of_each_kind_runs_alone_before_the_others_share_the_gpu(store):
    tasks = [task(store, seed=seed, batch_size=size) for size in (2, 4) for seed in range(3)]
    measure(store, GIB, batch_size=2, seed=9)
    made = portions(tasks, 0, "cuda", store)
    assert next(made) == ([tasks[3]], 1)
    measure(store, 4 * GIB, batch_size=4, seed=0)
    assert next(made) == ([*tasks[:3], *tasks[4:]], 2)
    assert list(made) == []


@pytest.mark.parametrize(("jobs", "device", "executor", "workers"), [(3, "cuda", "local", 3), (0, "cuda", "ray", 1)])
def test_a_number_that_was_given_and_other_executors_decide_themselves(
    store, monkeypatch, jobs, device, executor, workers
):
    monkeypatch.setenv("REGRAD_EXECUTOR", executor)
    tasks = [task(store, seed=seed) for seed in range(3)]
    assert list(portions(tasks, jobs, device, store)) == [(tasks, workers)]


def test_a_run_for_which_there_was_no_room_is_tried_again_alone(store, monkeypatch):
    begun = []

    def crowded(function, tasks, workers, until):
        begun.append((len(tasks), workers))
        for k, one in enumerate(tasks):
            full = workers > 1 and k == 1
            yield Outcome(one.run_id, "failed", "OutOfMemoryError: CUDA") if full else Outcome(one.run_id, "finished")

    monkeypatch.setattr(sys.modules["regrad.runner.ensure"], "map_tasks", crowded)
    measure(store, GIB, seed=9)
    tasks = [task(store, seed=seed) for seed in range(3)]
    assert carry_out(tasks, Bench(store.root, store.root, "cuda"), title="t") == {}
    assert begun == [(3, 6), (1, 1)]
    begun.clear()
    assert carry_out(tasks[:1], Bench(store.root, store.root, "cuda", 1), title="t") == {}
    assert begun == [(1, 1)]


def test_runs_that_a_cluster_has_not_begun_when_time_is_over_are_put_off_and_have_not_failed(store, monkeypatch):
    asked = []

    def queued(function, tasks, workers, until):
        asked.append((len(tasks), until))
        yield Outcome(tasks[0].run_id, "finished")

    monkeypatch.setattr(sys.modules["regrad.runner.ensure"], "map_tasks", queued)
    over = time.time() - 1.0
    tasks = [task(store, seed=seed) for seed in range(3)]
    tasks = [one._replace(bench=one.bench._replace(until=over)) for one in tasks]
    assert carry_out(tasks, Bench(store.root, store.root, "cuda", 2), title="t") == {}
    assert asked == [(3, over)]


def test_the_rate_makes_no_other_kind(store):
    measure(store, GIB, optimizer=sgd(0.1))
    assert next(portions([task(store, optimizer=sgd(0.3), seed=5)], 0, "cuda", store))[1] == 6


@pytest.mark.parametrize(("said", "found"), [("81079\n", 81079 << 20), ("81079\n81079\n", 81079 << 20), ("N/A\n", 0)])
def test_the_driver_says_how_much_is_free(tmp_path, monkeypatch, said, found):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(gpu_memory.shutil, "which", lambda _: str(tool))
    assert free_bytes() == found


def test_without_a_driver_nothing_is_free(monkeypatch):
    monkeypatch.setattr(gpu_memory.shutil, "which", lambda _: None)
    assert free_bytes() == 0
