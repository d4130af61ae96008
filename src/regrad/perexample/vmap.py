"""Acts on: per-example gradients. torch.func: vmap over grad, in chunks that bound what exists at once.

Accepts what torch.func accepts: no data-dependent control flow, no in-place writes on batch-independent
tensors. The per-example gradients of one chunk do exist, [chunk, *parameter]; `vmap(chunk_size=…)` would
join those of all chunks into one tensor, so the loop over chunks is written out here.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from regrad.perexample.batches import Losses, by_group, check_losses, chunks, map_examples
from regrad.perexample.purity import watch_pass
from regrad.perexample.refusals import Refused, refuse_hooks
from regrad.perexample.sums import Sums


class _LossModule(nn.Module):
    """The losses as a module: `functional_call` then replaces the parameters wherever `losses` reads them."""

    def __init__(self, model: nn.Module, losses: Losses, count: int):
        super().__init__()
        self.model = model
        self._losses, self._count = losses, count

    def forward(self, batch: Any, size: int) -> Tensor:
        return check_losses(self._losses(self.model, batch), size, self._count).mean()


def fold_by_vmap(model: nn.Module, losses: Losses, batch: Any, *, sums: Sums, options: Mapping[str, int]) -> None:
    """Fold every example's gradient into `sums`, `chunk_size` examples at a time."""
    size = options["group_size"]
    refuse_hooks(sums.parameters)
    # Under the name the wrapper gives it: `functional_call` looks parameters up by path.
    trainable = {f"model.{name}": p.detach() for name, p in model.named_parameters() if p.requires_grad}
    module = _LossModule(model, losses, sums.rows * size)

    def loss_of_group(parameters: dict[str, Tensor], group: Any) -> Tensor:
        return functional_call(module, parameters, (group, size))

    # torch.func knows few containers; it is given the tensors, and the nest is put together again inside.
    tensors: list[Tensor] = []
    map_examples(batch, tensors.append, _refuse_list)
    per_group = vmap(grad(lambda p, *own: loss_of_group(p, _refill(batch, own))), in_dims=(None, *(0,) * len(tensors)))
    for part in chunks(sums.rows, options["chunk_size"]):
        run = partial(per_group, trainable, *(by_group(x, size)[part] for x in tensors))
        gradients = run() if part.start else watch_pass(model, run)
        sums.fold_all({name.removeprefix("model."): g for name, g in gradients.items()}, part.start)


def _refill(batch: Any, tensors: tuple[Tensor, ...]) -> Any:
    rest = iter(tensors)
    return map_examples(batch, lambda _: next(rest), _refuse_list)


def _refuse_list(examples: list[Any]) -> Any:
    raise Refused(f"batch: vmap cuts tensors only, not a list of {len(examples)}; use method='loop' or a tensor")
