"""Long runs stopped at every step, by signals and by death without warning."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from stopped_runs import STEPS, TRAININGS, Stopping

from regrad.runner.resume import Keeper

pytestmark = pytest.mark.reliability


class Killed(Keeper):
    """Keeps a checkpoint after every step; the process is killed in the middle of writing that of step ``at``."""

    at = 0

    def after(self, step, moving):
        if step == self.at:
            os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        super().after(step, moving)


def die(training, folder, step, number):
    """Train in a child that dies at a step, by SIGTERM in it or by SIGKILL while its checkpoint is written."""
    child = os.fork()
    if child == 0:
        try:
            if number == signal.SIGTERM:
                with Keeper(folder, "run", every=1e9) as keeper:
                    training.finish(keeper, Stopping(at=step - 1))
            else:
                keeper = Killed(folder, "run", every=0.0)
                keeper.at = step
                training.finish(keeper)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number


def test_a_run_killed_at_any_step_goes_on_bit_for_bit(tmp_path, figure):
    trials = 0
    for name, training in TRAININGS.items():
        whole = training.finish()
        for step in range(1, STEPS):
            folder = tmp_path / name / str(step)
            die(training, folder, step, signal.SIGTERM if step % 2 else signal.SIGKILL)
            assert (folder / "run.checkpoint").exists() == (step > 1 or step % 2 == 1)
            assert training.finish(Keeper(folder, "run", every=1e9)) == whole, (name, step)
            trials += 1
    figure("bit-exact resume of a run", "3 models x 16 kill points",
           f"{trials} kills at {STEPS - 1} steps of {len(TRAININGS)} models, all bit-exact; "
           "11 dropped components noticed (tests/runner/test_resume.py)")  # fmt: skip
