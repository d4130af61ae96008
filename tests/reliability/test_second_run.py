"""A second reproduction of everything trains nothing, changes no byte and is quick."""

import hashlib
import os
import subprocess
import sys
import time

import pytest

from test_from_reference import ROOT, copied

pytestmark = pytest.mark.reliability
MADE = ("results", "site", "paper/report.pdf", "paper/generated")
NOT_COMPARED = {".lock-holder"}  # who worked last


def reproduce(root):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "regrad", "--quick", "--device", "cpu"], cwd=root, capture_output=True, text=True,
        timeout=900, env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lacks = "no LaTeX here" in done.stderr.splitlines()[-1]
    assert done.returncode == (3 if lacks else 0), done.stderr[-3000:]
    return time.monotonic() - start, done.stderr


def made(root):
    """Checksum and time of every file that a reproduction makes: a training would write its circumstances anew."""
    files = [p for part in MADE for p in ([root / part] if (root / part).is_file() else (root / part).rglob("*"))]
    files = [p for p in files if p.is_file() and p.name not in NOT_COMPARED and "reference" not in p.parts]
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def test_a_second_reproduction_trains_nothing_and_changes_no_byte(tmp_path, figure):
    root = copied(tmp_path / "checkout")
    first, _ = reproduce(root)
    before = made(root)
    runs = sum(name.startswith("results/runs") and "circumstances" in name for name in before)
    assert runs > 100
    again, said = reproduce(root)
    assert "executing" not in said
    assert "runs to do" not in said
    after = made(root)
    assert [name for name in before | after if before.get(name) != after.get(name)] == []
    figure("second full run (preset smoke)", "0 trainings, same bytes, < 15 s",
           f"0 of {runs} trainings, {len(after)} files the same, {again:.0f} s after {first:.0f} s")  # fmt: skip
