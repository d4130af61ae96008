"""``kill -9`` in the middle of runs, notebook and report, then again: the same bytes, no finished run repeated.

A process that has imported everything forks one reproduction a trial, with tiny runs, a real exporter in place
of papermill and a copy in place of LaTeX, and kills it at a moment that moves through the whole reproduction.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.reliability
ROOT = Path(__file__).parents[2]
TRIALS = 24
KILLS = """
import json, os, shutil, signal, sys, time
from pathlib import Path
root, cache, trials = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
sys.path[:0] = sys.argv[4:]
import torch
import tiny_reproduction as tiny
from regrad.store import Store
torch.set_num_threads(1)
def reproduce():
    child = os.fork()
    if child:
        return child
    sys.stderr = open(folders.root / "said", "a")
    tiny.install(folders)
    code = tiny.MODULE.reproduce(folders, tiny.ORDER)
    sys.stderr.flush()
    os._exit(code)
folders = tiny.checkout(root / "warm", cache)
os.waitpid(reproduce(), 0)
folders = tiny.checkout(root / "undisturbed", cache)
start = time.monotonic()
assert os.waitstatus_to_exitcode(os.waitpid(reproduce(), 0)[1]) == 0, (folders.root / "said").read_text()
seconds, wanted = time.monotonic() - start, tiny.contents(folders)
for number in range(trials):
    folders = tiny.checkout(root / f"trial-{number}", cache)
    child = reproduce()
    time.sleep(seconds * number / trials)
    os.kill(child, signal.SIGKILL)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    finished = {r.spec.seed for r in Store(folders.runs)}
    begun = folders.root / "begun"
    begun.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(os.waitpid(reproduce(), 0)[1])
    again = {int(line) for line in begun.read_text().split()} if begun.exists() else set()
    found = tiny.contents(folders)
    different = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    print(json.dumps([killed, code, sorted(finished & again), len(finished), different]), flush=True)
    shutil.rmtree(folders.root)
"""


def test_killed_at_any_moment_the_same_call_finishes_with_the_same_bytes(tmp_path, figure):
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), str(tmp_path / "cache"), str(TRIALS),
         str(ROOT / "tests"), str(ROOT / "tests" / "reliability")],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == TRIALS >= 20
    for _, code, repeated, _, different in trials:
        assert code == 0
        assert repeated == []
        assert different == []
    killed = sum(trial[0] for trial in trials)
    assert killed >= 15, "the others had finished"
    kept = sorted({trial[3] for trial in trials})
    figure("kill -9 end to end, then again", ">= 20 trials, same bytes, no finished run repeated",
           f"{TRIALS} trials, {killed} killed in the middle with {kept} runs finished")  # fmt: skip
