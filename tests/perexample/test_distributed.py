"""One, two and four gloo processes give the same statistics."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from perexample_agreement import assert_same
from perexample_models import next_token_losses
from perexample_ranks import STATISTICS, problem

from regrad.perexample.engine import gradient_statistics

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def expected():
    model, batch = problem()
    try:
        return gradient_statistics(model, next_token_losses, batch, STATISTICS, method="loop")
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_together_equal_one_process(expected, world, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = f"{HERE.parents[1] / 'src'}{os.pathsep}{HERE}"
    ranks = [
        subprocess.Popen(
            [sys.executable, str(HERE / "perexample_ranks.py"), str(tmp_path)],
            env={
                **os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]  # fmt: skip
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world, errors[0][-3000:]
    for how in ("ddp", "fully_shard"):
        assert_same(expected, torch.load(tmp_path / f"{how}.pt"))
