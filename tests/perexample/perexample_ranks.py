"""Run by the distributed tests: statistics of a shared batch by several processes, saved by rank 0 of each world.

One process imports torch and forks the ranks, which saves each of them the seconds that takes.
"""

import multiprocessing
import os
import socket
import sys

import pytest
import torch
import torch.distributed as dist
from perexample_agreement import assert_same
from perexample_models import Decoder, next_token_losses
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from regrad.perexample import banded_sign, clipped_mean, dot_product, group_norms, layer_of, weighted_mean
from regrad.perexample.engine import assign_grad, gradient_statistics

NAMES = ["mean", "mean_square", "variance", "norm"]
STATISTICS = {name: name for name in NAMES} | {
    "sign": banded_sign(1e-12),
    "clipped": clipped_mean(0.5),
    "by layer": group_norms(),
    "clipped by layer": clipped_mean(0.1, by=layer_of),
    "automatic": weighted_mean(lambda norm: 1 / (norm + 0.01)),
}


def problem():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    return Decoder(), torch.randint(0, 11, (9, 9))


def along(model):
    """A direction that every process knows."""
    return dot_product({name: torch.full(p.shape, 0.1 * i) for i, (name, p) in enumerate(model.named_parameters())})


def wrapped(model, how):
    if how == "ddp":
        return DistributedDataParallel(model)
    for block in model.blocks:
        fully_shard(block)
    return fully_shard(model)


def main(out, *worlds):
    fork = multiprocessing.get_context("fork")
    for world in map(int, worlds):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ranks = [fork.Process(target=rank_main, args=(out, rank, world, port)) for rank in range(world)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            sys.exit(f"world of {world}: {[process.exitcode for process in ranks]}")


def rank_main(out, rank, world, port):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo")
    for how in ("ddp", "fully_shard"):
        measure(how, f"{out}/{how}-{world}.pt")
    dist.destroy_process_group()


def measure(how, out):
    rank, world = dist.get_rank(), dist.get_world_size()
    model, batch = problem()
    model = wrapped(model, how)
    # Uneven on purpose: the last rank has what is left.
    share = len(batch) // world
    mine = batch[rank * share : (rank + 1) * share if rank + 1 < world else None]
    # A direction whose layers are whole is for whole layers, and pairs of examples for one process.
    wanted = STATISTICS | ({"along": along(model.module)} if how == "ddp" else {})
    answer = gradient_statistics(model, next_token_losses, mine, wanted)
    if how == "ddp":  # a compiled model is still the one of all processes
        compiled = gradient_statistics(torch.compile(model), next_token_losses, mine, wanted)
        assert_same(answer, compiled)
    for refused in (["gram"], *([] if how == "ddp" else [[along(model)]])):
        with pytest.raises(ValueError, match="one process"):
            gradient_statistics(model, next_token_losses, mine, refused)
    assign_grad(model, answer["mean"])
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    whole = {
        key: {n: v.full_tensor() if hasattr(v, "full_tensor") else v for n, v in values.items()}
        if isinstance(values, dict)
        else values
        for key, values in answer.items()
    }
    if rank == 0:
        torch.save(whole, out)
    dist.barrier()


if __name__ == "__main__":
    main(*sys.argv[1:])
