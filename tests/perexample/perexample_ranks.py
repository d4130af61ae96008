"""Run by the distributed tests, once for each rank: statistics of a shared batch, saved by rank 0."""

import sys

import torch
import torch.distributed as dist
from perexample_models import Decoder, next_token_losses
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.perexample.requests import banded_sign, clipped_mean

STATISTICS = ["mean", "mean_square", "variance", banded_sign(1e-12), "norm", clipped_mean(0.5)]


def problem():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    return Decoder(), torch.randint(0, 11, (9, 9))


def wrapped(model, how):
    if how == "ddp":
        return DistributedDataParallel(model)
    for block in model.blocks:
        fully_shard(block)
    return fully_shard(model)


def main(out):
    dist.init_process_group("gloo")
    for how in ("ddp", "fully_shard"):
        measure(how, f"{out}/{how}.pt")
    dist.destroy_process_group()


def measure(how, out):
    rank, world = dist.get_rank(), dist.get_world_size()
    model, batch = problem()
    model = wrapped(model, how)
    # Uneven on purpose: the last rank has what is left.
    share = len(batch) // world
    mine = batch[rank * share : (rank + 1) * share if rank + 1 < world else None]
    answer = gradient_statistics(model, next_token_losses, mine, STATISTICS)
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
