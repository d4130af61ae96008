"""One, two and four gloo processes give the same statistics."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from perexample_agreement import assert_same
from perexample_models import next_token_losses
from perexample_ranks import STATISTICS, along, problem

from regrad.perexample.engine import gradient_statistics

HERE = Path(__file__).parent
WORLDS = (2, 4)


@pytest.fixture(scope="module")
def expected():
    model, batch = problem()
    try:
        wanted = {**STATISTICS, "along": along(model)}
        return gradient_statistics(model, next_token_losses, batch, wanted, method="loop")
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    source = f"{HERE.parents[1] / 'src'}{os.pathsep}{HERE}"
    run = subprocess.run(
        [sys.executable, str(HERE / "perexample_ranks.py"), str(folder), *map(str, WORLDS)],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


@pytest.mark.parametrize("how", ["ddp", "fully_shard"])
@pytest.mark.parametrize("world", WORLDS)
def test_ranks_together_equal_one_process(expected, measured, how, world):
    answer = torch.load(measured / f"{how}-{world}.pt")
    assert_same({key: expected[key] for key in expected if how == "ddp" or key != "along"}, answer)
