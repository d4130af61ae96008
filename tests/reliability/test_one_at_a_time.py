"""Two calls on one checkout: one works, the other says who; a killed holder leaves nothing to unlock."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.reliability
ROUNDS = 20
# Forks two starts a round from a process that has imported everything; the winner is killed, never released.
STARTS = """
import json, os, signal, sys, time
from pathlib import Path
from regrad.pipeline import reproduce as module
from regrad.pipeline.folders import Folders
root = Path(sys.argv[1])
class Slow(module.Reproduction):
    def run(self):
        time.sleep(600)
module.Reproduction = Slow
def start(name):
    child = os.fork()
    if child:
        return child
    sys.stderr = open(root / name, "w")
    code = module.reproduce(Folders(root, root / "cache"), module.Order([], [], "smoke", "cpu"))
    sys.stderr.flush()
    os._exit(code)
for number in range(int(sys.argv[2])):
    names = {start(f"said-{number}-{k}"): f"said-{number}-{k}" for k in (0, 1)}
    loser, status = os.wait()
    said = (root / names.pop(loser)).read_text()
    winner, = names
    os.kill(winner, signal.SIGKILL)
    os.wait()
    print(json.dumps([os.waitstatus_to_exitcode(status), winner, said]), flush=True)
"""


def test_of_two_starts_one_works_and_the_other_says_who(tmp_path, figure):
    for name in ("notebooks", "paper"):
        (tmp_path / name).mkdir()
    (tmp_path / "paper" / "claims.toml").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", STARTS, str(tmp_path), str(ROUNDS)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == ROUNDS
    for code, winner, said in rounds:
        assert code == 3
        assert f"is being reproduced by process {winner} since " in said
        assert said.count("\n") == 1
    figure("two reproductions at once", "20 starts: one works, the other says who; no unlock",
           f"{ROUNDS} rounds of 2, {ROUNDS} winners killed, 0 unlocked by hand")  # fmt: skip
