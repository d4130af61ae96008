"""Acts on: per-example gradients. Several processes, each with its own examples: sums are added, norms are joined.

Every process must call in the same order, as for any collective. Local batches may differ in size.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.nn.parallel import DataParallel, DistributedDataParallel

from regrad.perexample.sums import Sums


def original_module(model: nn.Module) -> nn.Module:
    """The module as it was written, which names the parameters: without data parallelism and torch.compile.

    The hooks of DistributedDataParallel have nothing to do here.

    Raises:
        ValueError: for DataParallel on several devices, each of which has parameters of its own.
    """
    return list(_wrappers(model))[-1]


def _wrappers(model: nn.Module) -> Iterator[nn.Module]:
    """The model and what is inside, in whatever order it was wrapped."""
    yield model
    if isinstance(model, OptimizedModule):
        yield from _wrappers(model._orig_mod)
    elif isinstance(model, DistributedDataParallel):
        yield from _wrappers(model.module)
    elif isinstance(model, DataParallel):
        if len(model.device_ids) > 1:
            raise ValueError(
                f"model: DataParallel on {len(model.device_ids)} devices copies the parameters; use "
                "DistributedDataParallel, or model.module with the batch on its device"
            )
        yield from _wrappers(model.module)


def is_sharded(model: nn.Module) -> bool:
    """Whether `fully_shard` holds the parameters, even if some are whole at the moment."""
    return any(hasattr(type(module), "reshard") for module in model.modules())


def reshard(model: nn.Module) -> None:
    """Split what `fully_shard` left whole: the outermost module after a forward pass that no gradient followed.

    The surgery takes the gradients away, so it leaves that too; a gradient given to a whole parameter would miss
    the optimizer, which holds the sharded one.
    """
    for module in model.modules():
        if hasattr(type(module), "reshard"):
            module.reshard()  # type: ignore[operator]


def group_of(model: nn.Module) -> Any:
    """The process group whose members share the batch; None in a single process."""
    for wrapper in _wrappers(model):
        if isinstance(wrapper, DistributedDataParallel):
            return wrapper.process_group
    for parameter in model.parameters():
        if hasattr(parameter, "device_mesh"):
            return parameter.device_mesh.get_group()
    return None


def examples_per_process(rows: int, group: Any, device: torch.device) -> list[int]:
    """How many examples each process has, in the order of ranks."""
    if group is None:
        return [rows]
    mine = torch.tensor([rows], device=device)
    everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(everyone, mine, group=group)
    return [int(count) for count in everyone]


def reduce_sums(sums: Sums, group: Any, rows: list[int]) -> None:
    """Add the running averages over the processes and join the norms, rank by rank."""
    if group is None:
        return
    # In an order that does not depend on which layer each process met first.
    for kind in (*sums.request.kinds, *sums.request.clips, *sums.request.functions):
        for name in sums.parameters:
            dist.all_reduce(sums.average(kind, name), group=group)
    sums.squared_norms = _join(sums.squared_norms, group, rows)
    for by_name in (sums.squares, sums.dots):
        by_name.update({name: _join(values, group, rows) for name, values in by_name.items()})


def _join(values: Tensor, group: Any, rows: list[int]) -> Tensor:
    """A number for each example of every process, rank by rank."""
    # Collectives need equal shapes, and the last batches of an epoch differ.
    padded = values.new_zeros(max(rows))
    padded[: len(values)] = values
    everyone = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(everyone, padded, group=group)
    return torch.cat([joined[:count] for joined, count in zip(everyone, rows, strict=True)])


def shard_like(answer: dict[str, Any], parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    """Statistics of sharded parameters, sharded alike, each process keeping its part of what all have."""
    from torch.distributed.tensor import distribute_tensor

    def placed(name: str, value: Tensor) -> Tensor:
        parameter: Any = parameters[name]
        if not hasattr(parameter, "device_mesh"):
            return value
        return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)

    return {
        key: {name: placed(name, value) for name, value in values.items()} if isinstance(values, dict) else values
        for key, values in answer.items()
    }
