"""Which tensors are examples: a forward pass of another few examples tells, and is remembered.

A tensor whose shape does not follow the number of examples is none of them. Without a second number,
positions [T, …] would pass for examples whenever T = B, and examples moved off the first axis would go
unnoticed.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from regrad.perexample.batches import Losses, batch_size, check_losses
from regrad.perexample.distributed import is_sharded
from regrad.perexample.installing import install
from regrad.perexample.ledger import Ledger
from regrad.perexample.sums import Sums
from regrad.perexample.surgery import Shapes, Surgery

_REMEMBERED: WeakKeyDictionary[nn.Module, dict[Any, list[Shapes]]] = WeakKeyDictionary()
_AT_MOST = 8
# Few examples, and numbers unlikely to be an axis of something else.
_SIZES = (3, 5, 7, 11, 13, 17, 19)


def run_under(surgery: Surgery, model: nn.Module, losses: Losses, *, batch: Any) -> Tensor:
    """The losses [B], computed while the surgery watches.

    Raises:
        ValueError: if they are not one for each example, or the calls differ in number from the probe's.
    """
    with torch.enable_grad(), install(surgery, model, sharded=is_sharded(model)), surgery:
        values = check_losses(losses(model, batch), surgery.size)
    if surgery.probe is not None and len(surgery.call_shapes) not in (0, len(surgery.probe)):
        raise ValueError("losses: the forward pass depends on how many examples there are; use method='loop'")
    return values


def recall(model: nn.Module, losses: Losses, batch: Any) -> list[Shapes] | None:
    """What an earlier probe of this model with batches of this shape saw."""
    return _REMEMBERED.get(model, {}).get(_key(losses, batch))


def probe(model: nn.Module, losses: Losses, batch: Any, *, sums: Sums) -> list[Shapes] | None:
    """Shapes that parameters meet, call by call, with another number of examples; None if one example is all."""
    size = batch_size(batch)
    if size == 1:
        return None
    taken = {n for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) for n in leaf.shape}
    other = next(n for n in _SIZES if n not in taken)
    # The batch's own examples, over again if need be: made-up ones might be no tokens of the vocabulary.
    few = tree_map(lambda x: x[torch.arange(other, device=x.device) % size] if isinstance(x, Tensor) else x, batch)
    surgery = Surgery(Ledger(sums, 0, 1), other, None)
    run_under(surgery, model, losses, batch=few)
    memory = _REMEMBERED.setdefault(model, {})
    while len(memory) >= _AT_MOST:
        memory.pop(next(iter(memory)))
    memory[_key(losses, batch)] = surgery.call_shapes
    return surgery.call_shapes


def _key(losses: Losses, batch: Any) -> Any:
    # A lambda made anew for each step is the same code, and must find what was remembered.
    shapes = tuple(tuple(x.shape) for x in tree_leaves(batch) if isinstance(x, Tensor))
    return getattr(losses, "__code__", losses), shapes
