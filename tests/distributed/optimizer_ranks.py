"""One rank of a group of gloo processes that train with each optimizer; rank 0 writes what they agree on."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from regrad.optim.dgs import DGS
from regrad.optim.micro_adam import MicroAdam
from regrad.optim.sgg import SGG
from regrad.optim.sign_sgd import SignSGD
from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.transforms.dgs import READINGS

STEPS, BATCH = 6, 8


def optimizers():
    """Every optimizer, by name, as a function of named parameters."""
    made = {f"DGS {r}": lambda named, r=r: DGS(named, 0.05, reading=r) for r in READINGS}
    made |= {
        "SGG AdamW": lambda named: SGG(torch.optim.AdamW(named, lr=0.01), interval=2),
        "SGG SGD": lambda named: SGG(torch.optim.SGD(named, lr=0.1, momentum=0.9), interval=2),
        "MicroAdam": lambda named: MicroAdam(named, lr=0.01),
        "SignSGD": lambda named: SignSGD(named, lr=0.01),
    }
    return made


def batches():
    """The same batches of inputs and targets on every rank, float64."""
    random = torch.Generator().manual_seed(1)
    draw = lambda width: torch.randn(BATCH, width, generator=random, dtype=torch.float64)  # noqa: E731
    return [(draw(6), draw(3)) for _ in range(STEPS)]


def network() -> nn.Module:
    """Two layers whose three outputs two and four ranks cannot share evenly."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3)).double()


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Each example's mean square, [B]."""
    return (model(batch[0]) - batch[1]).square().mean(dim=1)


def train(model: nn.Module, name: str, *, rank: int = 0, world: int = 1) -> None:
    """Take all steps, this rank on its share of each batch."""
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    optimizer = optimizers()[name](list(inner.named_parameters()))
    share = BATCH // world
    with torch.no_grad():
        losses(model, batches()[0])  # as an evaluation does, after which a sharded model may be left whole
    for batch in batches():
        mine = tuple(part[rank * share : (rank + 1) * share] for part in batch)
        if name == "MicroAdam":
            found = gradient_statistics(model, losses, mine, ["mean", "variance"])
            assign_grad(model, found.pop("mean"))
            optimizer.step(statistics=found, batch_size=BATCH)
        else:
            losses(model, mine).mean().backward()
            optimizer.step()
        optimizer.zero_grad()


def whole(model: nn.Module) -> list[Tensor]:
    """The parameters, gathered from all ranks where they are sharded."""
    return [p.full_tensor().detach() if hasattr(p, "full_tensor") else p.detach() for p in model.parameters()]


def wrapped(model: nn.Module, how: str) -> nn.Module:
    """The model under DDP or fully sharded."""
    return DistributedDataParallel(model) if how == "ddp" else fully_shard(model)


def main(out: Path) -> None:
    """Train under both wrappers; write parameters, or the first line of a refusal."""
    dist.init_process_group("gloo")
    found = {}
    for how in ("ddp", "fully_shard"):
        for name in optimizers():
            model = wrapped(network(), how)
            try:
                train(model, name, rank=dist.get_rank(), world=dist.get_world_size())
                found[how, name] = whole(model)
            except ValueError as error:
                found[how, name] = str(error).splitlines()[0]
    if dist.get_rank() == 0:
        torch.save(found, out)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
