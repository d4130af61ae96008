"""Acts on: per-example gradients. How a rule's backward reaches the ledger, also from inside a compiled graph."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.contributions import unpack
from regrad.perexample.convolved import Packed
from regrad.perexample.ledger import Ledger
from regrad.perexample.refusals import Refused

# The ledgers of the backward passes under way: this thread's, and of all threads, because autograd runs the backward
# passes of an accelerator on threads of its own.
_OWN = threading.local()
_ALL: list[Ledger] = []


@contextmanager
def collect_into(ledger: Ledger) -> Iterator[None]:
    """While active, deposits go to this ledger."""
    mine = _OWN.__dict__.setdefault("ledgers", [])
    for ledgers in (mine, _ALL):
        ledgers.append(ledger)
    try:
        yield
    finally:
        mine.pop()
        # By identity: ledgers that hold the same are equal.
        del _ALL[next(i for i, other in enumerate(_ALL) if other is ledger)]


def rule_backward(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Give a rule's backward its saved tensors, and run it without the mode that watches the model."""

    def run(ctx: Any, *gradients: Any) -> Any:
        # First, while the model is still watched: here checkpointing computes a forward pass again.
        saved = ctx.saved_tensors
        # A compiled graph has no modes left to set aside, and its compiler cannot read the guard.
        if torch.compiler.is_compiling():
            return backward(ctx, saved, *gradients)
        with torch._C.DisableTorchFunction():
            return backward(ctx, saved, *gradients)

    return run


def deposit(handle: int, packed: Packed) -> Tensor | None:
    """Hand what a rule packed of one use to the ledger.

    Args:
        handle: of the use, from `Surgery.use`; nothing is deposited under −1.
        packed: from the `pack` of a contribution.

    Returns:
        In a compiled graph a zero that the rule must return as the anchor's gradient, lest the deposit be
        dropped as dead code; otherwise None.
    """
    if handle < 0:
        return None
    if torch.compiler.is_compiling():
        return torch.ops.regrad.deposit(handle, *packed)
    _deposit(handle, packed)
    return None


def anchor_gradient(*zeros: Tensor | None) -> Tensor | None:
    """The anchor's gradient: the sum of what the rule's deposits returned."""
    total = None
    for zero in zeros:
        if zero is not None:
            total = zero if total is None else total + zero
    return total


def _deposit(handle: int, packed: Packed) -> None:
    ledgers = getattr(_OWN, "ledgers", None) or _ALL
    if not ledgers:
        raise Refused("losses: they differentiate on the way (by the inputs, or a gradient penalty)")
    if ledgers is _ALL and len(_ALL) > 1:
        raise Refused("two threads compute statistics on one accelerator at once; let them take turns", final=True)
    ledger = ledgers[-1]
    # A compiled graph comes here without `rule_backward`.
    with torch.no_grad(), torch._C.DisableTorchFunction():
        ledger.deposit(handle, unpack(packed, ledger.group))


@torch.library.custom_op("regrad::deposit", mutates_args=())
def _deposit_op(handle: int, form: str, tensors: list[Tensor], numbers: list[int]) -> Tensor:
    _deposit(handle, (form, tensors, numbers))
    return torch.zeros((), device=tensors[0].device)


@_deposit_op.register_fake
def _(handle: int, form: str, tensors: list[Tensor], numbers: list[int]) -> Tensor:
    return torch.zeros((), device=tensors[0].device)
