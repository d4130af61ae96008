"""Only what is missing runs, whatever happened before: nothing twice, nothing lost, failures said at the end."""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from regrad.results import Part
from regrad.runner.ensure import Bench, RunsFailedError, collect, complete, ensure, missing, reached
from regrad.store import Store
from regrad.studies.grids import TUNING_SEED, tuning_then_fresh
from tiny_runs import TOPICS, record, sgd, spec

ENSURE = import_module("regrad.runner.ensure")  # the package has a function of that name
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def topics(tmp_path_factory):
    return tmp_path_factory.mktemp("topics")


@pytest.fixture
def bench(tmp_path, topics):
    return Bench(tmp_path / "runs", topics, "cpu", 1)


@pytest.fixture
def performed(monkeypatch):
    """The seeds of the runs that were really carried out."""
    real, seeds = ENSURE.perform, []
    monkeypatch.setattr(ENSURE, "perform", lambda task: (seeds.append(task.spec.seed), real(task))[1])
    return seeds


def files(bench):
    return {p.name: p.read_bytes() for p in bench.store.glob("??/*.json") if "circumstances" not in p.name}


def test_nothing_is_run_twice(bench, performed):
    specs = [spec(seed=s) for s in (0, 1)]
    first = ensure(specs, bench)
    assert performed == [0, 1]
    before = files(bench)
    assert ensure(specs, bench) == first
    assert performed == [0, 1]
    assert files(bench) == before


def test_equal_specs_are_one_run_and_each_record_carries_its_own_tags(bench, performed):
    records = ensure([spec(tags={"arm": "a"}), spec(tags={"arm": "b"}), spec(tags={"arm": "a"})], bench)
    assert performed == [0]
    assert [r.spec.tags["arm"] for r in records] == ["a", "b", "a"]
    assert len({r.run_id for r in records}) == 1


def test_records_come_in_the_order_of_the_specs_and_only_the_missing_one_runs(bench, performed):
    ensure([spec(seed=2)], bench)
    records = ensure([spec(seed=3), spec(seed=2), spec(seed=1)], bench)
    assert [r.spec.seed for r in records] == [3, 2, 1]
    assert sorted(performed) == [1, 2, 3]


def test_a_damaged_record_is_repeated_and_the_new_one_has_the_same_bytes(bench, performed, caplog):
    ensure([spec(seed=s) for s in (0, 1)], bench)
    before = files(bench)
    victim = next(p for p in bench.store.glob("??/*.json") if p.name in before)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        ensure([spec(seed=s) for s in (0, 1)], bench)
    assert len(performed) == 3
    assert files(bench) == before
    assert sum("moved to" in r.getMessage() for r in caplog.records) == 1


def test_a_lost_note_of_circumstances_repeats_nothing(bench, performed):
    ensure([spec()], bench)
    (note,) = bench.store.glob("??/*.circumstances.json")
    note.unlink()
    ensure([spec()], bench)
    assert performed == [0]


def test_a_diverged_run_is_a_record_and_not_repeated(bench, performed):
    wild = spec(optimizer=sgd(1e30))
    (made,) = ensure([wild], bench)
    assert made.diverged
    ensure([wild], bench)
    assert performed == [0]


def test_a_failing_run_stops_no_other_and_is_said_at_the_end_and_tried_again(bench, performed):
    bad = spec(seed=7, optimizer=Part(name="sgd", options={"lr": 0.1, "momentun": 0.9}))
    specs = [spec(seed=0), bad, spec(seed=1)]
    with pytest.raises(RunsFailedError, match=r"1 runs failed, the first with TypeError: .*momentun") as caught:
        ensure(specs, bench)
    assert "\n" not in str(caught.value)
    assert performed == [0, 7, 1]
    assert [r.spec.seed for r in collect(specs, bench)] == [0, 1]
    with pytest.raises(RunsFailedError):
        ensure(specs, bench)
    assert performed == [0, 7, 1, 7]


def test_a_disk_that_is_full_fails_the_run_with_the_reason(bench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "runs")

    monkeypatch.setattr("regrad.store.write_atomically", full)
    with pytest.raises(RunsFailedError, match="No space left on device"):
        ensure([spec()], bench)


def test_circumstances_lie_beside_the_record_and_not_in_it(bench):
    (made,) = ensure([spec()], bench)
    noted = Store(bench.store).circumstances(made.run_id)
    assert noted.seconds > 0
    assert noted.peak_bytes > 1_000_000
    assert noted.threads == 1
    assert "seconds" not in made.model_dump()


def test_what_a_killed_writer_left_is_swept_away_once_it_is_old(bench):
    old, young = bench.store / "ab" / ".tmp-old", bench.store / "ab" / ".tmp-young"
    old.parent.mkdir(parents=True)
    for path in (old, young):
        path.write_text("half a record")
    os.utime(old, (1, 1))
    ensure([], bench)
    assert not old.exists()
    assert young.exists(), "somebody may still be writing it"


def test_one_process_and_two_give_equal_records(bench, tmp_path, topics):
    specs = [spec(seed=s) for s in range(3)]
    ensure(specs, bench)
    other = Bench(tmp_path / "two", topics, "cpu", 2)
    ensure(specs, other)
    assert files(other) == files(bench)


def test_missing_names_what_is_not_there_each_run_once(bench):
    ensure([spec(seed=0)], bench)
    found = missing([spec(seed=0), spec(seed=1), spec(seed=1, tags={"arm": "x"})], bench)
    assert [task.spec.seed for task in found] == [1]


SWEEP = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from tiny_runs import spec
from regrad.runner.ensure import Bench, ensure
ensure([spec(seed=s, steps=40) for s in range(int(sys.argv[4]))], Bench(Path(sys.argv[1]), Path(sys.argv[2]), "cpu", 2))
"""


def at_work(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_a_sweep_killed_in_the_middle_goes_on_where_it_stopped(tmp_path, topics, performed):
    """kill -9: workers gone within 2 s, finished runs not repeated, same bytes as without the kill."""
    count, bench = 12, Bench(tmp_path / "runs", topics, "cpu", 1)
    ensure([spec()], Bench(tmp_path / "warm", topics, "cpu", 1))  # the data are in the cache
    command = [sys.executable, "-c", SWEEP, str(bench.store), str(topics), str(HERE.parent), str(count)]
    sweep = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: len(files(bench)) >= 2, 90)
    finally:
        workers = psutil.Process(sweep.pid).children(recursive=True)
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.wait()
    gone = wait_for(lambda: not at_work(workers), 2)
    for process in at_work(workers):
        process.kill()
    assert gone
    there = files(bench)
    assert 2 <= len(there) < count, "killed too late to show anything"
    performed.clear()
    specs = [spec(seed=s, steps=40) for s in range(count)]
    ensure(specs, bench)
    assert len(performed) == count - len(there)
    after = files(bench)
    assert len(after) == count
    assert {name: after[name] for name in there} == there
    whole = Bench(tmp_path / "undisturbed", topics, "cpu", 1)
    seeds = [specs[k] for k in (0, 1, count - 1)]
    ensure(seeds, whole)
    assert files(whole).items() <= after.items()


class Landscape:
    """A plan whose runs are pretended: loss is the squared distance of log2 lr from log2 of an optimum."""

    def __init__(self, optima, bench, extensions=2):
        self.optima, self.bench, self.extensions, self.asked = optima, bench, extensions, 0
        self.grids = {arm: [0.5, 1.0, 2.0] for arm in optima}

    def make(self, arm, lr, seed, phase):
        options = {**TOPICS, "evaluation_sequences": 1 + list(self.optima).index(arm)}
        return spec(
            problem=Part(name="language", options=options),
            optimizer=sgd(lr),
            seed=seed,
            tags={"study": "landscape", "arm": arm, "phase": phase},
        )

    def __call__(self, preset, records):
        self.asked += 1
        assert preset == "smoke"
        return tuning_then_fresh(self.grids, self.make, records, seeds=(2, 3), extensions=self.extensions)

    def run(self, specs, bench, title):
        """In place of ``ensure``: records with the landscape's loss."""
        assert title == "landscape"
        found = []
        for s in specs:
            best = self.optima[s.tags["arm"]]
            wild = best is None
            loss = 0.0 if wild else (math.log2(s.optimizer.lr) - math.log2(best)) ** 2
            status, metrics = ("diverged", {}) if wild else ("finished", {"validation_loss": loss})
            found.append(record(s, status=status, metrics=metrics))
        return found


def completed(monkeypatch, bench, plan):
    monkeypatch.setattr(ENSURE, "ensure", plan.run)
    records = complete(plan, "smoke", bench)
    by = {}
    for r in records:
        key = r.spec.tags["arm"], r.spec.tags["phase"]
        by.setdefault(key, []).append((r.spec.optimizer.options["lr"], r.spec.seed))
    return by


def test_an_optimum_inside_the_grid_goes_straight_to_fresh_seeds(monkeypatch, bench):
    plan = Landscape({"a": 1.1}, bench)
    by = completed(monkeypatch, bench, plan)
    assert by["a", "tune"] == [(lr, TUNING_SEED + k) for lr in (0.5, 1.0, 2.0) for k in (0, 1)]
    assert by["a", "fresh"] == [(1.0, 0), (1.0, 1), (1.0, 2)]
    assert plan.asked == 3  # the grid; with fresh seeds; nothing new


def test_an_optimum_on_the_edge_extends_the_grid_outward_by_its_own_ratio_until_it_lies_inside(monkeypatch, bench):
    # Optimum 8: 0.5 1 2, best 2 on the edge; + 4 8, best 8 on the edge; + 16 32, best 8 inside.
    by = completed(monkeypatch, bench, Landscape({"a": 8.0, "b": 1.0}, bench))
    assert [lr for lr, seed in by["a", "tune"] if seed == TUNING_SEED] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert {lr for lr, _ in by["a", "fresh"]} == {8.0}
    assert len(by["b", "tune"]) == 6, "another arm's edge costs this arm nothing"
    assert {lr for lr, _ in by["b", "fresh"]} == {1.0}


def test_extension_stops_after_the_fixed_number_and_reports_the_edge(monkeypatch, bench):
    # Optimum 1/1000: two extensions downward by two points each reach 1/32, and no further.
    by = completed(monkeypatch, bench, Landscape({"a": 0.001}, bench))
    assert min(lr for lr, _ in by["a", "tune"]) == 1 / 32
    assert {lr for lr, _ in by["a", "fresh"]} == {1 / 32}


def test_an_arm_that_diverges_everywhere_is_tried_lower_and_gets_no_fresh_runs(monkeypatch, bench):
    by = completed(monkeypatch, bench, Landscape({"wild": None, "tame": 1.0}, bench))
    assert min(lr for lr, _ in by["wild", "tune"]) == 1 / 32
    assert ("wild", "fresh") not in by
    assert len(by["tame", "fresh"]) == 3


def test_an_arm_names_its_fresh_seeds_while_another_is_tuned_and_not_before_its_own_last_tuning_run(bench):
    """What decides most can run first: "a" waits for nothing of "b"; of "b" the second seed of one rate is missing."""
    plan = Landscape({"a": 1.1, "b": 1.1}, bench)
    tuning = {r.spec.key(): r for r in plan.run(plan("smoke", []), bench, "landscape")}
    last = next(k for k, r in tuning.items() if (r.spec.tags["arm"], r.spec.optimizer.lr) == ("b", 2.0))
    del tuning[last]
    here, missing = reached(plan, "smoke", lambda spec: tuning.get(spec.key()))
    assert len(here) == 11
    assert [(s.tags["arm"], s.tags["phase"], s.seed) for s in missing] == [
        ("a", "fresh", 0), ("a", "fresh", 1), ("a", "fresh", 2), ("b", "tune", TUNING_SEED)
    ]  # fmt: skip


def test_tuning_seeds_and_fresh_seeds_never_meet(monkeypatch, bench):
    by = completed(monkeypatch, bench, Landscape({"a": 8.0, "b": 0.1}, bench))
    tune = {seed for (_, phase), runs in by.items() for _, seed in runs if phase == "tune"}
    fresh = {seed for (_, phase), runs in by.items() for _, seed in runs if phase == "fresh"}
    assert tune == {1000, 1001}
    assert fresh == {0, 1, 2}
