"""``regrad runs``: those runs first that decide most, over all studies; stopped in time or by force it goes on."""

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from nested import spec_keys
from regrad.archive import write
from regrad.exits import DONE, FAILED, TIME
from regrad.pipeline import sweep as module
from regrad.pipeline.folders import Folders
from regrad.pipeline.order import Order
from regrad.pipeline.sweep import Sweep, rank, sweep
from regrad.results import Circumstances, Part
from regrad.runner.timing import Times
from regrad.store import Store
from regrad.studies.catalogue import STUDIES
from regrad.studies.study import Study
from tiny_runs import record, sgd, spec

ENSURE = import_module("regrad.runner.ensure")
A, B = (Study(name=name, title=name, notebook=f"0_{name}") for name in "ab")
HERE = Path(__file__).parent


def planned(name, preset, records):
    """Two tuning runs, then two fresh ones and an ablation, of each study."""
    about = {"study": name, "arm": name}
    first = 10 if name == "a" else 20
    tune = [spec(seed=first + k, tags=about | {"phase": "tune"}) for k in (0, 1)]
    if len(records) < 2:
        return tune
    ablation = spec(seed=first + 4, tags=about | {"phase": "ablation"})
    return [*tune, ablation, *(spec(seed=first + k, tags=about | {"phase": "fresh"}) for k in (2, 3))]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def world(tmp_path, cache, monkeypatch):
    """A checkout, and the seeds of the runs that were carried out in it."""
    monkeypatch.setattr(module, "plan_of", lambda study: lambda preset, records: planned(study.name, preset, records))
    real, seeds = ENSURE.perform, []
    monkeypatch.setattr(ENSURE, "perform", lambda task: (seeds.append(task.spec.seed), real(task))[1])
    return Folders(tmp_path / "checkout", cache), seeds


def order(minutes=None, studies=(A, B)):
    return Order(list(studies), [], "smoke", "cpu", 1, True, minutes)


def contents(folders):
    return {p.name: p.read_bytes() for p in folders.runs.glob("??/*.json") if "circumstances" not in p.name}


def test_studies_take_turns_and_no_fresh_run_begins_before_all_are_tuned(world, capsys):
    folders, seeds = world
    assert sweep(folders, order()) == DONE
    assert seeds == [10, 20, 11, 21, 12, 22, 13, 23, 14, 24]
    assert capsys.readouterr().err.splitlines()[-1] == "regrad: smoke: 10 of 10 runs named so far are done"
    assert sweep(folders, order()) == DONE
    assert len(seeds) == 10


def test_a_plan_may_say_how_much_a_run_decides():
    tags = ({"phase": "tune"}, {"phase": "fresh"}, {}, {"phase": "tune", "rank": "2"})
    assert [rank(spec(tags=each)) for each in tags] == [0, 1, 2, 2]


def test_a_run_that_fails_stops_no_other_and_is_tried_once(world, monkeypatch, capsys):
    folders, seeds = world
    bad = spec(seed=7, optimizer=Part(name="sgd", options={"lr": 0.1, "momentun": 0.9}))
    monkeypatch.setattr(module, "plan_of", lambda study: lambda preset, records: [bad, spec(seed=8)])
    assert sweep(folders, order()) == FAILED
    assert seeds == [7, 8]
    assert capsys.readouterr().err.splitlines()[-1].startswith("regrad: 1 failed, the first with TypeError")


def test_no_minutes_begin_nothing_and_say_what_is_open(world, capsys):
    folders, seeds = world
    assert sweep(folders, order(minutes=0)) == TIME
    assert seeds == []
    assert capsys.readouterr().err == "regrad: smoke: 0 of 4 runs named so far are done, 4 are open\n"


def test_time_that_is_over_keeps_a_checkpoint_and_the_same_call_goes_on_bit_for_bit(world, monkeypatch, cache):
    folders, _ = world
    long = spec(seed=1, steps=1500, evaluations=3)
    monkeypatch.setattr(module, "plan_of", lambda study: lambda preset, records: [long])
    whole = Folders(folders.root.parent / "undisturbed", cache)
    began = time.monotonic()
    assert sweep(whole, order(studies=[A])) == DONE
    took = time.monotonic() - began
    stretches = 0
    while (code := sweep(folders, order(minutes=took / 60 / 3, studies=[A]))) == TIME:
        stretches += 1
        assert len(list((folders.runs / "checkpoints").glob("*"))) == 1
        assert stretches < 20
    assert code == DONE
    assert stretches >= 1, "it took no longer than its time"
    assert contents(folders) == contents(whole)
    assert not list((folders.runs / "checkpoints").glob("*"))


def timed(folder, seconds):
    """Times of a store that holds one run."""
    store, made = Store(folder), record(spec(seed=3))
    store.put(made, Circumstances(seconds=seconds, peak_bytes=1, threads=1, commit="c", machine="m"))
    return Times([store])


def test_a_run_that_cannot_end_in_time_is_not_begun_and_a_shorter_one_of_a_later_rank_is(world, tmp_path):
    folders, _ = world
    made = Sweep(folders, order(minutes=10, studies=[A]))
    task = lambda of: ENSURE.Task(of, ENSURE.fingerprint(of, "cpu"), made.bench)  # noqa: E731
    long, short = spec(seed=4, tags={"phase": "tune"}), spec(seed=4, steps=1, tags={"phase": "fresh"})
    times = timed(tmp_path / "times", 240.0)
    assert [t.spec for t in made.wave([[task(long), task(short)]], times)] == [long]
    made.bench = made.bench._replace(until=time.time() + 200)
    assert [t.spec for t in made.wave([[task(long), task(short)]], times)] == [short]
    longer = timed(tmp_path / "longer", 2400.0)
    made.bench = made.bench._replace(until=time.time() + 400)
    assert [t.spec for t in made.wave([[task(long)]], longer)] == [long], "longer than the stretch"
    quick = spec(seed=5, steps=1, tags={"phase": "tune"})
    made.bench = made.bench._replace(until=time.time() + 2000)
    assert [t.spec for t in made.wave([[task(long)], [task(quick)]], longer)] == [quick, long], "what ends comes first"
    made.bench = made.bench._replace(until=time.time() + 4000)
    assert [t.spec for t in made.wave([[task(long)], [task(quick)]], longer)] == [long, quick]


def test_times_are_those_of_the_kind_else_by_the_example_else_unknown(tmp_path):
    times = timed(tmp_path, 8.0)
    other = spec(problem=Part(name="images", options={"images": "x"}))
    assert times.expected(spec(seed=9, optimizer=sgd(0.7))) == 8.0
    assert times.expected(spec(steps=4, evaluations=2)) == 16.0
    assert times.expected(other) == 0.0
    assert times.total([spec(), other]) == 16.0
    assert times.total([other]) is None


def test_what_was_published_is_taken_over_and_not_run_again(world, capsys):
    folders, seeds = world
    assert sweep(folders, order()) == DONE
    store = Store(folders.runs)
    runs = [(each, store.circumstances(each.run_id)) for each in store]
    clone = Folders(folders.root.parent / "clone", folders.cache)
    write(clone.root / "results" / "reference" / "smoke-cpu" / "runs", {"a": runs[:7]})
    seeds.clear()
    assert sweep(clone, order()) == DONE
    assert len(seeds) == 3
    assert "regrad: 7 published runs taken over\n" in capsys.readouterr().err
    assert contents(clone) == contents(folders)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_sweep as here
from tiny_runs import spec
here.module.plan_of = lambda study: lambda preset, records: [spec(seed=s, steps=60) for s in range(12)]
here.sweep(here.Folders(Path(sys.argv[2]), Path(sys.argv[3])), here.order(studies=[here.A])._replace(jobs=2))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_the_same_call_finishes_with_the_same_bytes(world, monkeypatch, cache, number):
    folders, _ = world
    call = [sys.executable, "-c", KILLED, str(HERE), str(folders.root), str(cache)]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while len(contents(folders)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.wait()
    there = contents(folders)
    assert 2 <= len(there) < 12, "killed too late to show anything"
    specs = [spec(seed=s, steps=60) for s in range(12)]
    monkeypatch.setattr(module, "plan_of", lambda study: lambda preset, records: specs)
    end = time.monotonic() + 10
    while (code := sweep(folders, order(studies=[A]))) not in (DONE, TIME) and time.monotonic() < end:
        time.sleep(0.2)
    assert code == DONE
    whole = Folders(folders.root.parent / "undisturbed", cache)
    assert sweep(whole, order(studies=[A])) == DONE
    assert contents(folders) == contents(whole)


@pytest.mark.parametrize("study", [study for study in STUDIES if study.trains], ids=lambda study: study.name)
def test_a_plan_is_carried_to_its_end_by_pretended_runs(study):
    keys = spec_keys(study, "smoke")
    assert keys == spec_keys(study, "smoke")
    assert keys > {each.key() for each in study.plan("smoke", [])} or study.name == "own_statistics"
