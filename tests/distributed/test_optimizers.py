"""Two and four gloo processes train as one: statistics over a tensor are over all of it, or the optimizer refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from optimizer_ranks import network, optimizers, train, whole

HERE = Path(__file__).parent
REFUSED = ("SGG AdamW", "SGG SGD")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def found(request, tmp_path_factory):
    """What a group of ranks, started by torchrun, ended with."""
    out = tmp_path_factory.mktemp("ranks") / "found.pt"
    source = f"{HERE.parents[1] / 'src'}{os.pathsep}{HERE}"
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={request.param}",
            str(HERE / "optimizer_ranks.py"), str(out),
        ],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize("how", ["ddp", "fully_shard"])
@pytest.mark.parametrize("name", optimizers())
def test_ranks_together_train_as_one_process_or_refuse_by_name(found, how, name):
    got = found[how, name]
    if how == "fully_shard" and name in REFUSED:
        assert got == "params must be whole for SGG, got a sharded one (DTensor); use DistributedDataParallel"
        return
    alone = network()
    train(alone, name)
    start = whole(network())
    for one, many, before in zip(whole(alone), got, start, strict=True):
        torch.testing.assert_close(many, one, rtol=0, atol=1e-12)
        assert (one - before).abs().max() > 1e-3
