"""SIGTERM and Ctrl-C in the middle of the work: the documented exit code, and a lock that is free."""

import signal
import subprocess
import sys
import time

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
