"""Acts on: per-example gradients. How a rule's backward reaches the ledger."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

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
        with torch._C.DisableTorchFunction():
            return backward(ctx, saved, *gradients)

    return run


def deposit(handle: int, packed: Packed) -> None:
    """Hand what a rule packed of one use to the ledger.

    Args:
        handle: of the use, from `Surgery.use`; nothing is deposited under −1.
        packed: from the `pack` of a contribution.
    """
    if handle < 0:
        return
    ledgers = getattr(_OWN, "ledgers", None) or _ALL
    if not ledgers:
        raise Refused("losses: they differentiate on the way (by the inputs, or a gradient penalty)")
    if ledgers is _ALL and len(_ALL) > 1:
        raise Refused("two threads compute statistics on one accelerator at once; let them take turns", final=True)
    ledger = ledgers[-1]
    with torch.no_grad():
        ledger.deposit(handle, unpack(packed, ledger.group))
