"""Acts on: per-example gradients. How a rule's backward reaches the ledger, also from inside a compiled graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.ledger import Ledger, contribution_of

# The ledger of the backward pass under way. Not thread-local: autograd runs CUDA backwards on threads of its own.
_ACTIVE: list[Ledger] = []


class collecting:  # noqa: N801 (a context manager)
    """While active, deposits go to this ledger."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def __enter__(self):
        _ACTIVE.append(self.ledger)

    def __exit__(self, *_):
        _ACTIVE.remove(self.ledger)


def quietly(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Give a rule's backward its saved tensors, and run it without the mode that watches the model.

    Unpacking comes first: it is where checkpointing computes a forward pass again, which must be watched.
    """

    def run(ctx: Any, *gradients: Any) -> Any:
        saved = ctx.saved_tensors
        if torch.compiler.is_compiling():
            return backward(ctx, saved, *gradients)
        with torch._C.DisableTorchFunction():
            return backward(ctx, saved, *gradients)

    return run


def deposit(handle: int, kind: str, tensors: list[Tensor], numbers: list[int] | None = None) -> Tensor | None:
    """Hand one use's factors to the ledger; see `contribution_of` for `kind`, `tensors` and `numbers`.

    Returns:
        In a compiled graph a zero that the rule must return as the anchor's gradient, lest the deposit be
        dropped as dead code; otherwise None.
    """
    if handle < 0:
        return None
    if torch.compiler.is_compiling():
        return torch.ops.regrad.deposit(handle, kind, tensors, numbers or [])
    _deposit(handle, kind, tensors, numbers or [])
    return None


def anchored(*tokens: Tensor | None) -> Tensor | None:
    """The anchor's gradient: the sum of what the rule's deposits returned."""
    total = None
    for token in tokens:
        if token is not None:
            total = token if total is None else total + token
    return total


def _deposit(handle: int, kind: str, tensors: list[Tensor], numbers: list[int]) -> None:
    if not _ACTIVE:
        raise RuntimeError("a backward pass through per-example surgery ran outside gradient_statistics")
    ledger = _ACTIVE[-1]
    # A compiled graph comes here without `quietly`.
    with torch.no_grad(), torch._C.DisableTorchFunction():
        ledger.deposit(handle, contribution_of(kind, tensors, numbers, group=ledger.group))


@torch.library.custom_op("regrad::deposit", mutates_args=())
def _deposit_op(handle: int, kind: str, tensors: list[Tensor], numbers: list[int]) -> Tensor:
    _deposit(handle, kind, tensors, numbers)
    return torch.zeros((), device=tensors[0].device)


@_deposit_op.register_fake
def _(handle: int, kind: str, tensors: list[Tensor], numbers: list[int]) -> Tensor:
    return torch.zeros((), device=tensors[0].device)
