"""The store's system calls fail one at a time, by SIGKILL, ENOSPC and EIO: no record is lost or wrong.

strace fails the N-th call of a kind in a writer that imports no torch; where strace is missing (or may not
trace), a hook in the writer does the same to Python's functions.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from regrad.results import Circumstances
from regrad.store import Store, seal
from tiny_runs import record, spec

pytestmark = pytest.mark.reliability
HOW = Circumstances(seconds=1.0, peak_bytes=1, threads=1, commit="abc", machine="a machine")
RECORDS = [record(spec(seed=seed)) for seed in range(4)]
CALLS = ("openat", "write", "fsync", "rename", "mkdir")
FAULTS = {"SIGKILL": "signal=SIGKILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
# What was put is told by a symbolic link, a call that no fault is injected into.
WRITER = """
import errno, json, os, signal, sys
from pathlib import Path
from regrad.results import Circumstances, Record
from regrad.store import Store
root, told, given, how, call, fault, number = sys.argv[1:]
records = [Record(**values) for values in json.loads(Path(given).read_text())]
circumstances, store = Circumstances(**json.loads(how)), Store(Path(root))
calls = []
def failing(real):
    def hook(*arguments, **options):
        calls.append(call)
        if len(calls) == int(number):
            if fault == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
        return real(*arguments, **options)
    return hook
class Watched:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *_): self.file.close()
    def __getattr__(self, name): return getattr(self.file, name)
    def write(self, data): return failing(self.file.write)(data)
names = {"openat": "open", "fsync": "fsync", "rename": "replace", "mkdir": "mkdir"}
if call == "write":
    real = os.fdopen
    os.fdopen = lambda *a: Watched(real(*a))
elif call:
    setattr(os, names[call], failing(getattr(os, names[call])))
try:
    os.open("/nowhere/the-store-starts-here", os.O_RDONLY)
except OSError:
    pass
for record in records:
    store.put(record, circumstances)
    os.symlink("put", f"{told}/{record.run_id}")
os.symlink(str(len(calls)), f"{told}/calls")
"""


@functools.cache
def strace_works():
    return bool(shutil.which("strace")) and subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode == 0


class Trial:
    """A store with one record in it, and a writer that puts that record again and three others."""

    def __init__(self, folder):
        self.store, self.told, self.given = Store(folder / "store"), folder / "told", folder / "given.json"
        shutil.rmtree(folder, ignore_errors=True)
        self.told.mkdir(parents=True)
        self.given.write_text(json.dumps([r.model_dump(mode="json") for r in RECORDS]))
        self.store.put(RECORDS[0], HOW)

    def write(self, before=(), *, hook=("", "", "0")):
        words = [str(self.store.root), str(self.told), str(self.given), json.dumps(HOW.model_dump()), *hook]
        settings = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*before, sys.executable, "-c", WRITER, *words]
        return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=120)

    def check(self):
        """Nothing told is missing, nothing is wrong or half there; the same call again completes the same bytes."""
        told = {path.name for path in self.told.iterdir()} | {RECORDS[0].run_id}
        for made in RECORDS:
            found = self.store.get(made.run_id)
            assert found == made or (found is None and made.run_id not in told), made.run_id
            assert self.store.circumstances(made.run_id) in (None, HOW)
        assert not (self.store.root / "quarantine").exists(), "a half-written file lay under its final name"
        for made in RECORDS:
            self.store.put(made, HOW)
            assert self.store.path(made.run_id).read_bytes() == seal(
                made.model_dump(mode="json", exclude={"spec": {"tags"}})
            )
        self.store.sweep(older_than_seconds=-1.0)
        assert len([path for path in self.store.root.rglob("*") if path.is_file()]) == 2 * len(RECORDS)


def counted(trial, log):
    """How often the undisturbed writer makes each call before its marker (Python's start) and in all."""
    done = trial.write(["strace", "-f", "-qq", "-o", str(log), "-e", "trace=" + ",".join(CALLS)])
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    start = next(k for k, line in enumerate(lines) if "the-store-starts-here" in line)
    made = [re.sub(r"^\d+ +", "", line).partition("(")[0] for line in lines]
    return {call: (made[: start + 1].count(call), made.count(call)) for call in CALLS}


@pytest.mark.skipif(not strace_works(), reason="needs strace and the right to trace; the hook below stands in")
def test_a_fault_at_any_system_call_of_the_store_loses_nothing(tmp_path, figure):
    counts = counted(Trial(tmp_path / "w"), tmp_path / "log")
    points = [(c, n, f) for c, (start, end) in counts.items() for n in range(start + 1, end + 1) for f in FAULTS]
    struck = 0
    for call, number, fault in points:
        trial = Trial(tmp_path / "w")
        inject = f"inject={call}:{FAULTS[fault]}:when={number}"
        done = trial.write(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        )
        struck += done.returncode != 0
        if fault != "SIGKILL" and done.returncode:
            assert re.search("No space left on device|Input/output error", done.stderr)
            assert str(trial.store.root) in done.stderr.splitlines()[-1], "the message names the path"
        trial.check()
    assert len(points) >= 150
    assert struck >= 0.9 * len(points), "most faults must be felt, or they were injected elsewhere"
    figure("kill/ENOSPC/EIO at the store's system calls (strace)", ">= 150 points, 0 lost or wrong",
           f"{len(points)} points, {struck} felt by the writer, 0 lost or wrong")  # fmt: skip


def test_a_fault_at_any_call_of_python_loses_nothing(tmp_path, figure):
    faults = list(FAULTS)[:1] if strace_works() else list(FAULTS)
    points = 0
    for call in CALLS:
        trial = Trial(tmp_path / "w")
        assert trial.write(hook=(call, "", "-1")).returncode == 0
        total = int(os.readlink(trial.told / "calls"))
        for fault in faults:
            for number in range(1, total + 1):
                trial = Trial(tmp_path / "w")
                assert trial.write(hook=(call, fault, str(number))).returncode != 0 or call == "mkdir"
                trial.check()
                points += 1
    assert points >= (40 if strace_works() else 120)
    figure("the same by a hook in the process", ">= 40 points beside strace, 0 lost or wrong",
           f"{points} points, 0 lost or wrong")  # fmt: skip
