"""SIGTERM and Ctrl-C in the middle of the work: the documented exit code, no child left, and a lock that is free."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

pytestmark = pytest.mark.reliability
AT_WORK = """
import runpy, sys, time
from pathlib import Path
from regrad.pipeline import reproduce as module
def run(self):
    Path("at-work").touch()
    time.sleep(600)
module.Reproduction.run = run
module.Reproduction.check = lambda self: None
sys.argv = ["regrad", "--quick", "--only", "overview"]
runpy.run_module("regrad", run_name="__main__")
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_with_its_exit_code_and_frees_the_lock(tmp_path, sent, code, figure):
    for name in ("notebooks", "paper"):
        (tmp_path / name).mkdir()
    process = subprocess.Popen([sys.executable, "-c", AT_WORK], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "at-work").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(sent)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert process.returncode == code, said
    assert "Traceback" not in said
    FileLock(tmp_path / "results" / ".lock").acquire(timeout=0).lock.release()
    figure(f"{sent.name} in the middle of the work", f"exit {code}, lock free", f"exit {code}, lock free")


# Two workers train, each a run of many minutes.
WORKERS = """
import runpy, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import tiny_reproduction as tiny
from regrad import cli
from tiny_runs import spec
folders = tiny.checkout(Path(sys.argv[1]), Path(sys.argv[2]))
tiny.install(folders, [spec(seed=seed, steps=1000000) for seed in range(2)])
cli.select = lambda *_: ([tiny.STUDY], [])
cli.checkout = lambda start: folders
sys.argv = ["regrad", "--quick", "--jobs", "2", "--device", "cpu", "--offline"]
runpy.run_module("regrad", run_name="__main__")
"""


def children(pid):
    """Process ids of all descendants, with their CPU seconds."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(entry.parent.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    family = {pid}
    while more := {p for p, (parent, _) in found.items() if parent in family} - family:
        family |= more
    return {p: found[p][1] for p in family - {pid}}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_while_two_workers_train_leaves_no_child(tmp_path, sent, code, figure):
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", WORKERS, *map(str, (tmp_path / "checkout", tmp_path / "cache", here.parent, here))],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        end, busy = time.monotonic() + 120, {}
        while len(busy) < 2 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
            busy = {pid: seconds for pid, seconds in children(process.pid).items() if seconds > 4}
        family = children(process.pid)
        assert len(busy) == 2, family
        start = time.monotonic()
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)  # as a terminal does
        else:
            process.send_signal(sent)
        said = process.communicate(timeout=60)[1]
        while any(map(alive, family)) and time.monotonic() < start + 10:
            time.sleep(0.05)
        seconds = time.monotonic() - start
        assert [pid for pid in family if alive(pid)] == []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, said
    assert "Traceback" not in said, said
    FileLock(tmp_path / "checkout" / "results" / ".lock").acquire(timeout=0).lock.release()
    assert not list((tmp_path / "checkout" / "results" / "runs").glob("??/*.json"))
    figure(f"{sent.name} while two workers train", "children gone, lock free",
           f"{len(family)} gone after {seconds:.1f} s")  # fmt: skip
