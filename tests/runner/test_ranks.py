"""One run on 2 and 4 gloo processes is the run of one process, to rounding, or is refused by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rank_runs import specs, wide
from torch import nn

from regrad.cli import main
from regrad.pipeline.folders import Folders
from regrad.pipeline.together import Together, carry_out
from regrad.results import Part
from regrad.runner.ensure import Bench, ensure
from regrad.runner.ranks import RanksError, check
from regrad.store import Store
from tiny_runs import spec

HERE = Path(__file__).parent
WHOLE = ["moments", "cubes by vmap", "sgg scales", "sgg"]  # not under fully_shard
SHARED = [*WHOLE, "micro_adam", "clipped adam", "signs of examples", "dgs", "float32", "diverges"]


def together(root, cache, way, names, ranks, **environment):
    source = os.pathsep.join(map(str, (HERE.parents[1] / "src", HERE.parent, HERE)))
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}",
            str(HERE / "rank_runs.py"), str(root), str(cache), way, ",".join(names),
        ],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The records of one process, by name of the run, and the cache of the data."""
    root = tmp_path_factory.mktemp("alone")
    bench = Bench(root / "runs", root / "cache", "cpu", 1)
    return dict(zip(SHARED, ensure([specs()[name] for name in SHARED], bench), strict=True)), bench.cache


def runs_of(root):
    return Store(root / "results" / "runs")


SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in (("ddp", 4), ("fully_shard", 2), ("fully_shard", 4))]


@pytest.mark.parametrize(("way", "ranks"), [("ddp", 2), *SLOW])
def test_ranks_together_write_the_record_of_one_process_or_refuse_by_name(alone, tmp_path, way, ranks):
    wanted, cache = alone
    done = together(tmp_path, cache, way, [*SHARED, "six of a batch"], ranks)
    sharded = ["optimizer 'sgg' under fully_shard; allowed: sgd, adam"] * 2
    sharded += ["measure 'moment_split' under fully_shard; ", "gradient: method='vmap' under fully_shard; "]
    refused = sharded if way == "fully_shard" else []
    refused += ["batch_size=6 on 4 ranks; allowed: a multiple of 4"] if ranks == 4 else []
    said = [line for line in done.stderr.splitlines() if line.startswith("regrad: ")]
    assert all(any(f"regrad: refused: {part}" in line for line in said) for part in refused), done.stderr[-3000:]
    lines = len(SHARED) + 1 + 1
    assert len([line for line in said if "refused: " in line]) == len(refused)
    assert len(said) == lines, said  # each run once, by one rank, and a summary
    assert (done.returncode == 0) == (refused == [])
    assert not list((tmp_path / "results" / "runs" / "checkpoints").glob("*"))
    store = runs_of(tmp_path)
    kept = {record.run_id: record for record in store}
    assert len(kept) == len(SHARED) + 1 - len(refused)
    for name, one in wanted.items():
        if name in WHOLE and way == "fully_shard":
            continue
        many, near = kept[one.run_id], 1e-5 if name == "float32" else 1e-10
        assert (many.status, many.parameters, set(many.curves)) == (one.status, one.parameters, set(one.curves))
        for curve, found in many.curves.items():
            assert found.x == one.curves[curve].x
            assert found.y == pytest.approx(one.curves[curve].y, rel=near), (name, curve)
        assert f"{ranks} ranks, {way}" in store.circumstances(one.run_id).machine
    losses = kept[wanted["micro_adam"].run_id].curves["validation_loss"].y
    assert abs(losses[-1] - losses[0]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ddp", "fully_shard"])
def test_one_rank_asked_to_stop_stops_all_after_the_same_step_and_they_go_on_bit_for_bit(alone, tmp_path, way):
    wanted, cache = alone
    name = "micro_adam"
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    assert together(undisturbed, cache, way, [name], 2).returncode == 0
    assert together(stopped, cache, way, [name], 2, STOP_AT="3").returncode != 0
    parts = sorted((stopped / "results" / "runs" / "checkpoints").glob("*.checkpoint"))
    assert [part.name.split(".")[1] for part in parts] == [f"{way}-0-of-2", f"{way}-1-of-2"]
    assert list(runs_of(stopped)) == []
    done = together(stopped, cache, way, [name], 2, REGRAD_CHECKPOINT_SECONDS="1e6")
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list((stopped / "results" / "runs" / "checkpoints").glob("*"))
    one = wanted[name].run_id
    assert runs_of(stopped).path(one).read_bytes() == runs_of(undisturbed).path(one).read_bytes()


@pytest.mark.slow
def test_when_time_is_over_for_one_rank_all_keep_the_same_step_and_the_same_call_goes_on(alone, tmp_path):
    wanted, cache = alone
    name = "micro_adam"
    undisturbed, late = tmp_path / "undisturbed", tmp_path / "late"
    assert together(undisturbed, cache, "ddp", [name], 2).returncode == 0
    nothing = together(late, cache, "ddp", [name], 2, MINUTES="0")
    assert "regrad: 0 runs done on 2 ranks; time is over, and the same call goes on" in nothing.stderr
    assert not list((late / "results" / "runs" / "checkpoints").glob("*"))
    some = together(late, cache, "ddp", [name], 2, MINUTES="10", OVER_AT="3")
    assert "regrad: 0 runs done on 2 ranks; time is over, and the same call goes on" in some.stderr, some.stderr[-3000:]
    assert len(list((late / "results" / "runs" / "checkpoints").glob("*.checkpoint"))) == 2
    assert together(late, cache, "ddp", [name], 2, MINUTES="10").returncode == 0
    one = wanted[name].run_id
    assert runs_of(late).path(one).read_bytes() == runs_of(undisturbed).path(one).read_bytes()


@pytest.mark.slow
def test_parts_of_different_steps_are_not_gone_on_from(alone, tmp_path):
    wanted, cache = alone
    name = "micro_adam"
    for step in ("2", "4"):
        assert together(tmp_path / step, cache, "ddp", [name], 2, STOP_AT=step).returncode != 0
    folders = [tmp_path / step / "results" / "runs" / "checkpoints" for step in ("2", "4")]
    part = next(folders[1].glob("*1-of-2*"))
    (folders[0] / part.name).write_bytes(part.read_bytes())
    assert together(tmp_path / "2", cache, "ddp", [name], 2).returncode == 0
    many = runs_of(tmp_path / "2").get(wanted[name].run_id)
    assert many.metrics == pytest.approx(wanted[name].metrics, rel=1e-10)


@pytest.mark.parametrize(
    ("changes", "model", "way", "said"),
    [
        ({"batch_size": 6}, nn.Linear(1, 1), "ddp", "batch_size=6 on 4 ranks; allowed: a multiple of 4"),
        (
            {"gradient": Part(name="example_signs", options={"group_size": 4})},
            nn.Linear(1, 1),
            "ddp",
            "group_size=4 with 2 examples a rank; allowed: a divisor of 2",
        ),
        (
            {"optimizer": Part(name="adafactor")},
            nn.Linear(1, 1),
            "fully_shard",
            "optimizer 'adafactor' under fully_shard; allowed: sgd, adam, adamw, sign_sgd, micro_adam, dgs",
        ),
        ({"scaler": Part(name="alsdgc")}, nn.Linear(1, 1), "ddp", "scaler 'alsdgc' on 4 ranks; allowed: none"),
        ({"measures": (Part(name="spikes"),)}, nn.Linear(1, 1), "ddp", "measure 'spikes' under ddp; allowed: test, "),
        (
            {"measures": (Part(name="moment_split", options={"examples": 10}),)},
            nn.Linear(1, 1),
            "ddp",
            "moment_split: examples=10 on 4 ranks; allowed: a multiple of 4",
        ),
        (
            {"gradient": Part(name="statistics", options={"method": "vmap"})},
            nn.Linear(1, 1),
            "fully_shard",
            "gradient: method='vmap' under fully_shard; allowed: 'graph'",
        ),
        (
            {"measures": (Part(name="moment_split", options={"examples": 8}),)},
            nn.Linear(1, 1),
            "fully_shard",
            "measure 'moment_split' under fully_shard; allowed: test, state_mean, split_losses",
        ),
        ({}, nn.Sequential(nn.BatchNorm1d(2)), "ddp", "0: BatchNorm1d on 4 ranks; allowed: GroupNorm or LayerNorm"),
        ({}, nn.Sequential(nn.Dropout(0.1)), "ddp", "0: Dropout(p=0.1) on 4 ranks; allowed: p=0"),
    ],
)
def test_what_would_be_another_run_is_refused_by_name(changes, model, way, said):
    with pytest.raises(RanksError) as caught:
        check(spec(**{"batch_size": 8} | changes), model, 4, way)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_the_same_run_is_not_refused():
    split = Part(name="moment_split", options={"examples": 8})
    check(wide(measures=(split,)), nn.Sequential(nn.Dropout(0.0), nn.GroupNorm(1, 2)), 4, "ddp")


@pytest.mark.parametrize(
    ("words", "rank", "said"),
    [
        (["--preset", "smoke"], None, "ranks: not started by torchrun; allowed: torchrun --nproc-per-node 2 -m"),
        (["--preset", "huge"], "0", "'huge' is not known"),
        (["--preset", "smoke", "--parallel", "fsdp"], "0", "'fsdp' is not known"),
        (["--preset", "smoke", "--runs", "0"], "0", "'0'; allowed: an integer of at least 1"),
        (["--preset", "smoke", "--only", "sign-placement-x"], "0", "--only: unknown target 'sign-placement-x'"),
        (["--preset", "huge"], "1", ""),
    ],
)
def test_a_bad_call_is_one_line_by_one_rank_and_exit_code_2(tmp_path, monkeypatch, capsys, words, rank, said):
    for name in ("notebooks", "paper"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as caught:
        main(["ranks", *words])
    heard = capsys.readouterr().err
    assert caught.value.code == 2
    assert said in heard
    assert heard.count("\n") == (1 if said else 0)


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_a_bad_variable_is_said_by_one_rank_before_they_meet(monkeypatch, capsys, tmp_path, rank, lines):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("REGRAD_HANG_SECONDS", "soon")
    assert carry_out(Folders(tmp_path, tmp_path), Together([], "smoke", "cpu", "ddp")) == 2
    heard = capsys.readouterr().err
    assert heard.count("\n") == lines
    assert ("REGRAD_HANG_SECONDS is 'soon'; allowed: seconds" in heard) == bool(lines)
