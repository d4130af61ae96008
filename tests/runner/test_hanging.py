"""A run whose steps stop coming is ended and said; the others go on, and it is tried again by the next call."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stopped_runs import TRAININGS, Regression

from regrad.problems.language import LanguageProblem
from regrad.runner import hanging
from regrad.runner.dependencies import fingerprint
from regrad.runner.ensure import PUT_OFF, Bench, RunsFailedError, Task, ensure, perform
from regrad.runner.hanging import HangError, Watch
from regrad.runner.limits import CHECKPOINT, HANG, check, seconds
from regrad.runner.resume import Keeper
from regrad.store import Store
from tiny_runs import spec

STUCK = """
from regrad.runner import hanging
hanging.GRACE = 0.2
watch = hanging.Watch(0.3)
watch.put_off()
sum(range(10**13))  # native code that does not come back: no signal is answered
"""


@pytest.mark.parametrize("slow", ["evaluate", "init_model"])
def test_a_run_within_an_evaluation_or_still_making_data_when_time_is_over_is_put_off(slow, tmp_path, monkeypatch):
    def endless(self, *_):
        while True:
            sum(range(1000))

    monkeypatch.setattr(LanguageProblem, slow, endless)
    monkeypatch.setattr(hanging, "LATE", 0.2)
    bench, start = Bench(tmp_path / "runs", tmp_path / "cache", jobs=1, until=time.time() + 1.0), time.monotonic()
    one, before = spec(seed=1), signal.getsignal(signal.SIGALRM)
    assert perform(Task(one, fingerprint(one, "cpu"), bench)).status == PUT_OFF
    assert time.monotonic() - start < 10
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize("variable", [CHECKPOINT, HANG])
@pytest.mark.parametrize("word", ["-1", "nan", "inf", "soon", ""])
def test_a_bad_number_of_seconds_is_refused_in_one_line(variable, word, monkeypatch):
    monkeypatch.setenv(variable, word)
    for look in (lambda: seconds(variable), check):
        with pytest.raises(ValueError, match=rf"^{variable} is '{word}'; allowed: seconds, a number of at least 0"):
            look()


def test_without_the_environment_the_documented_seconds_are_in_force(monkeypatch):
    for variable in (CHECKPOINT, HANG):
        monkeypatch.delenv(variable, raising=False)
    assert (seconds(CHECKPOINT), seconds(HANG)) == (300, 3600)
    page = (Path(__file__).parents[2] / "docs" / "executors.md").read_text()
    assert "`REGRAD_CHECKPOINT_SECONDS`, default 300" in page
    assert "`REGRAD_HANG_SECONDS`, default 3600" in page


def test_a_run_that_hangs_fails_and_the_others_finish(tmp_path, monkeypatch):
    batch = LanguageProblem.batch

    def hanging(self, step, size):
        if (self.seed, step) == (1, 1):
            time.sleep(60)
        return batch(self, step, size)

    monkeypatch.setenv(HANG, "1")
    monkeypatch.setattr(LanguageProblem, "batch", hanging)
    bench, specs = Bench(tmp_path / "runs", tmp_path / "cache", jobs=1), [spec(seed=seed) for seed in range(3)]
    start = time.monotonic()
    with pytest.raises(RunsFailedError, match="1 runs failed, the first with HangError: no step in 1 s: it hangs"):
        ensure(specs, bench)
    assert time.monotonic() - start < 30
    assert {record.spec.seed for record in Store(bench.store)} == {0, 2}
    monkeypatch.setattr(LanguageProblem, "batch", batch)
    assert [record.spec.seed for record in ensure(specs, bench)] == [0, 1, 2]


def test_a_run_slower_than_the_limit_whose_steps_come_is_left_alone(tmp_path, monkeypatch):
    class Slow(Regression):
        def batch(self, step, size):
            if step < 10_000:
                time.sleep(0.1)
            return super().batch(step, size)

    monkeypatch.setenv(HANG, "1")
    training = TRAININGS["loss scaler, momentum"]
    with Keeper(tmp_path, "run") as keeper:
        assert training.finish(keeper, Slow()) == training.finish()


def test_code_that_never_returns_to_python_ends_with_its_process_and_says_where_it_was():
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=50)
    assert time.monotonic() - start < 40
    assert done.returncode == 1
    assert "Timeout (0:00:00" in done.stderr
    assert 'File "<string>", line 6' in done.stderr


def test_python_is_asked_before_the_process_is_ended():
    late = STUCK.replace("Watch(0.3)", "Watch(4.0)").replace("GRACE = 0.2", "GRACE = 0.36")
    late = (
        late.partition("sum(")[0]
        + """
import time
time.sleep(0.39)  # the last step, just before the other clock would have been set anew
watch.put_off()
try:
    time.sleep(30)
except hanging.HangError:
    watch.end()
    time.sleep(0.3)
    print("answered")
"""
    )
    done = subprocess.run([sys.executable, "-c", late], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "answered\n"), done.stderr


def test_what_was_set_before_is_there_again():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        watch = Watch(0.2)
        watch.put_off()
        with pytest.raises(HangError):
            time.sleep(30)
        watch.end()
        watch.end()
        signal.raise_signal(signal.SIGALRM)
        assert rung == [1]
        assert 400 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
