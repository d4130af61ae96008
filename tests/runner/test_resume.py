import io
import os
import signal

import pytest
import torch
from stopped_runs import STEPS, TRAININGS, CrashError, Crashing, Plain, Stopping, Training

from regrad.results import Part, run_id
from regrad.runner import resume
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import Bench, Task, perform
from regrad.runner.registry import OPTIMIZERS
from regrad.runner.resume import Keeper
from regrad.store import Store
from tiny_runs import spec

ADAMW = {"name": "adamw", "options": {"lr": 0.02}}
OPTIONS = {
    "sgg": {"base": ADAMW, "interval": 3},
    "sgg_compared": {"base": ADAMW, "interval": 3, "grouping": "dbscan"},
    "hidden_schedule": {"lr": 0.02, "decay": 0.5, "interval": 3},
    "resetting": {"base": ADAMW, "reset": "soft", "steps": STEPS},
    "dgs": {"lr": 0.02, "reading": "steps_per_tensor", "momentum": 0.9},
}


def stopped_at(training, folder, step):
    with pytest.raises(CrashError):
        training.finish(Crashing(folder, step))


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("step", [1, 8, STEPS])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(name, step, tmp_path):
    whole = TRAININGS[name].finish()
    stopped_at(TRAININGS[name], tmp_path, step)
    assert TRAININGS[name].finish(Keeper(tmp_path, "run")) == whole


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_that_a_spec_can_name_is_kept_whole(name, tmp_path):
    options = OPTIONS.get(name, {"lr": 0.02})
    gradient = Part(name="statistics") if name == "micro_adam" else None
    training = Training(Plain, {"optimizer": Part(name=name, options=options), "gradient": gradient})
    whole = training.finish()
    stopped_at(training, tmp_path, 7)
    assert training.finish(Keeper(tmp_path, "run")) == whole


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_run_stopped_between_two_resets_goes_on_bit_for_bit(reset, tmp_path):
    options = {"base": ADAMW, "reset": reset, "steps": STEPS}
    training = Training(Plain, {"optimizer": Part(name="resetting", options=options)})
    whole = training.finish()
    stopped_at(training, tmp_path, 11)
    assert training.finish(Keeper(tmp_path, "run")) == whole


@pytest.mark.parametrize("scaler", [Part(name="alsdgc"), Part(name="clipped", options={"clipper": "ema"})])
def test_every_scaler_is_kept_whole(scaler, tmp_path):
    sgd = Part(name="sgd", options={"lr": 0.02, "momentum": 0.9})
    training = Training(Plain, {"optimizer": sgd, "scaler": scaler})
    whole = training.finish()
    stopped_at(training, tmp_path, 7)
    assert training.finish(Keeper(tmp_path, "run")) == whole


@pytest.mark.parametrize(
    ("lost", "name"),
    [
        ("model", "buffers, noise, Adam, cosine"),
        ("buffers", "buffers, noise, Adam, cosine"),
        ("optimizer", "buffers, noise, Adam, cosine"),
        ("scheduler", "buffers, noise, Adam, cosine"),
        ("curves", "buffers, noise, Adam, cosine"),
        ("step", "buffers, noise, Adam, cosine"),
        ("torch", "buffers, noise, Adam, cosine"),
        ("numpy", "buffers, noise, Adam, cosine"),
        ("python", "buffers, noise, Adam, cosine"),
        ("optimizer", "SGG in mid-interval"),
        ("scaler", "loss scaler, momentum"),
    ],
)
def test_the_loss_of_any_component_is_noticed(lost, name, tmp_path, monkeypatch):
    training = TRAININGS[name]
    whole = training.finish()
    stopped_at(training, tmp_path, 8)
    faithful = resume.restore

    def forgetful(moving, kept):
        fresh = resume.capture(moving, 0)
        if lost in kept["generators"]:
            kept["generators"][lost] = fresh["generators"][lost]
        elif lost == "buffers":
            for buffer in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"):
                kept["model"][buffer] = fresh["model"][buffer].clone()
        elif lost == "curves":
            kept["curves"] = {}
        else:
            kept[lost] = fresh[lost]
        return faithful(moving, kept)

    monkeypatch.setattr(resume, "restore", forgetful)
    assert training.finish(Keeper(tmp_path, "run")) != whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_is_answered_by_a_checkpoint_and_then_by_what_it_means(number, tmp_path):
    training = TRAININGS["SGG in mid-interval"]
    whole = training.finish()
    child = os.fork()
    if child == 0:
        with Keeper(tmp_path, "run", every=1e9) as keeper:
            training.finish(keeper, Stopping(at=9, number=number))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    body = (tmp_path / "run.checkpoint").read_bytes().partition(b"\n")[2]
    assert torch.load(io.BytesIO(body), weights_only=True)["step"] == 10
    assert training.finish(Keeper(tmp_path, "run")) == whole


def test_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with Keeper(tmp_path, "run"):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_checkpoint_is_said_removed_and_replaced_by_a_new_start(place, tmp_path, caplog):
    training = TRAININGS["SGG in mid-interval"]
    whole = training.finish()
    stopped_at(training, tmp_path, 8)
    path = tmp_path / "run.checkpoint"
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(bytes(data))
    assert training.finish(Keeper(tmp_path, "run", every=1e9)) == whole
    assert "checksum mismatch; the run starts anew" in caplog.text
    assert not path.exists()


def test_a_checkpoint_under_another_runs_name_is_not_used(tmp_path, caplog):
    training = TRAININGS["SGG in mid-interval"]
    stopped_at(training, tmp_path, 8)
    (tmp_path / "run.checkpoint").rename(tmp_path / "other.checkpoint")
    assert training.finish(Keeper(tmp_path, "other", every=1e9)) == training.finish()
    assert "belongs to another run" in caplog.text


def test_short_runs_write_no_checkpoint(tmp_path):
    with Keeper(tmp_path, "run") as keeper:
        TRAININGS["SGG in mid-interval"].finish(keeper)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_change_no_byte_of_a_record_and_go_when_it_is_stored(tmp_path, monkeypatch):
    written = {}
    for seconds in ("0", "300"):
        monkeypatch.setenv("REGRAD_CHECKPOINT_SECONDS", seconds)
        bench = Bench(tmp_path / seconds, tmp_path / "cache")
        task = Task(spec(), fingerprint(spec(), "cpu"), bench)
        assert perform(task).status == "finished"
        written[seconds] = Store(bench.store).path(run_id(*task[:2])).read_bytes()
        assert not list(bench.store.rglob("*.checkpoint"))
    assert (tmp_path / "0" / "checkpoints").exists()
    assert written["0"] == written["300"]
