"""One run on several processes, which torchrun started: each takes its share of every batch.

Acts on nothing that a run in one process does not: the mean over the whole batch is the mean over ranks of their
shares' means, which ``DistributedDataParallel`` or ``fully_shard`` takes; per-example statistics are reduced by the
engine. Sums are added in another order, so numbers agree to rounding and not to the byte: on equal fingerprints
within 1e-5 of each value in float32, 1e-10 in float64 (tested with 2 and 4 ranks), as far as the training does not
amplify rounding: one at a learning rate where the loss explodes does.

What would silently be another run is refused by name: a batch that the ranks cannot share evenly, BatchNorm and
dropout (statistics and noise of a share), loss scalers (they read one process's numbers), measures that were not
tested here, and under ``fully_shard`` statistics by another method than surgery, which needs whole parameters, and
optimizers that were not tested there.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from regrad.perexample.batches import take
from regrad.problems.batch import Examples
from regrad.problems.data.splits import Split
from regrad.problems.problem import Problem
from regrad.results import Fingerprint, Record, Spec, run_id
from regrad.runner.build import build_gradient, build_problem
from regrad.runner.hanging import Watch
from regrad.runner.resume import Keeper
from regrad.runner.train import record_of, train, trainable

# Of those that the registry names: the others look at whole tensors, of which a rank has its shard.
MEASURES = {
    "ddp": ("test", "state_mean", "moment_split", "split_losses", "scale_range"),
    "fully_shard": ("test", "state_mean", "split_losses"),
}
# Whose steps are right where a rank has a shard; others look at rows, columns or norms of what they are given.
SHARDED = ("sgd", "adam", "adamw", "sign_sgd", "micro_adam", "dgs")


class RanksError(ValueError):
    """A run that several processes cannot share; the message is one line."""


class Replicated(DistributedDataParallel):
    """A replica whose parameters keep the names that they have in the model alone."""

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        return self.module.named_parameters(*args, **kwargs)


class Shares:
    """A problem whose batches are this rank's share of the whole ones, examples of a rank side by side."""

    def __init__(self, problem: Problem, rank: int, world: int) -> None:
        self.problem, self.rank, self.world = problem, rank, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self.problem, name)

    def batch(self, step: int, batch_size: int) -> Examples:
        share = divided(batch_size, self.world, "batch_size")
        return take(self.problem.batch(step, batch_size), slice(self.rank * share, (self.rank + 1) * share))

    def evaluate(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Return the numbers of the whole split: every rank takes all of it."""
        return self.problem.evaluate(model.module if isinstance(model, Replicated) else model, split)


class RankKeeper(Keeper):
    """Keeps this rank's part of a run's checkpoint; all ranks keep theirs after the same step, or none does."""

    def __init__(self, folder: Path, name: str, way: str, *, device: str, until: float) -> None:
        rank, world = dist.get_rank(), dist.get_world_size()
        super().__init__(folder, f"{name}.{way}-{rank}-of-{world}", device=device, until=until)
        self.watch = Watch()  # time ends at a step on which all ranks agree: one that left alone would hang the others
        self.where = device if way == "fully_shard" else "cpu"  # a shard stays on the device that its mesh is of

    def agreed(self, kept: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the state only if every rank has kept one after the same step."""
        step = kept["step"] if kept else 0
        # One reduction for both: the largest of -step is the smallest step.
        low, high = self._most(-step, step)
        return kept if -low == high > 0 else None

    def agree(self, due: bool, asked: int, over: bool) -> tuple[bool, int, bool]:
        """Return whether any rank finds a checkpoint due, what signal one was sent, and whether one's time is over."""
        someone_due, signal, someone_over = self._most(int(due), asked, int(over))
        return bool(someone_due), signal, bool(someone_over)

    def _most(self, *values: int) -> list[int]:
        numbers = torch.tensor(values, device=self.device)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
        return numbers.tolist()


def divided(examples: int, world: int, what: str) -> int:
    """Return the examples of one rank (RanksError: they cannot be shared evenly)."""
    if examples % world:
        raise RanksError(f"{what}={examples} on {world} ranks; allowed: a multiple of {world}")
    return examples // world


def check(spec: Spec, model: nn.Module, world: int, way: str) -> None:
    """Refuse a run that would be another one on several ranks (RanksError: what it is, and what is allowed)."""
    share, gradient = divided(spec.batch_size, world, "batch_size"), build_gradient(spec)
    if share % (group := getattr(gradient, "group_size", 1)):
        raise RanksError(f"group_size={group} with {share} examples a rank; allowed: a divisor of {share}")
    if way == "fully_shard" and spec.optimizer.name not in SHARDED:
        raise RanksError(f"optimizer {spec.optimizer.name!r} under {way}; allowed: {', '.join(SHARDED)}")
    if spec.scaler:
        raise RanksError(f"scaler {spec.scaler.name!r} on {world} ranks; allowed: none")
    for part in spec.measures:
        if part.name not in MEASURES[way]:
            raise RanksError(f"measure {part.name!r} under {way}; allowed: {', '.join(MEASURES[way])}")
        if part.name == "moment_split":
            divided(int(str(part.options["examples"])), world, "moment_split: examples")
    method = getattr(gradient, "method", "graph")
    if way == "fully_shard" and method != "graph":
        raise RanksError(f"gradient: method={method!r} under fully_shard; allowed: 'graph'")
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            raise RanksError(f"{name}: {type(module).__name__} on {world} ranks; allowed: GroupNorm or LayerNorm")
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise RanksError(f"{name}: {type(module).__name__}(p={module.p}) on {world} ranks; allowed: p=0")


def wrapped(model: nn.Module, way: str) -> nn.Module:
    """Return the model replicated, or itself with every block of its lists, and then the rest, fully sharded."""
    if way == "ddp":
        return Replicated(model)
    for module in list(model.modules()):
        if isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block)
    fully_shard(model)
    return model


@contextmanager
def whole_batch_size(size: int) -> Iterator[None]:
    """Tell optimizers whose step asks for the batch size that of all ranks together; a wrapper passes it on."""

    def replace(_: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        if "batch_size" not in kwargs:
            return None
        return args, kwargs | {"batch_size": size}

    hook = register_optimizer_step_pre_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def run(
    spec: Spec, fingerprint: Fingerprint, way: str, *, cache: Path, checkpoints: Path, until: float = math.inf
) -> Record:
    """Run ``spec`` on all ranks of the process group and return its record, the same on each.

    The fingerprint is that of a run in one process: it is the same run.

    Raises:
        RanksError: Before any step, on every rank alike.
        OutOfTime: It is later than ``until``, as `time.time` has it; every rank has kept its checkpoint.
    """
    torch.set_num_threads(1)
    rank, world = dist.get_rank(), dist.get_world_size()
    problem = build_problem(spec, cache=cache, device=fingerprint.device)
    model = problem.init_model()
    parameters = trainable(model)
    check(spec, model, world, way)
    model, name = wrapped(model, way), run_id(spec, fingerprint)
    with (
        RankKeeper(checkpoints, name, way, device=fingerprint.device, until=until) as keeper,
        whole_batch_size(spec.batch_size),
    ):
        share = cast(Problem, Shares(problem, rank, world))  # what it does not share out, it passes on
        curves, finite = train(spec, share, model, keeper)
    dist.barrier()  # nobody drops its part before everybody is at the end
    keeper.drop()
    return record_of(spec, fingerprint, curves, finite, parameters)
