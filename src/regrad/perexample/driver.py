"""Acts on: per-example gradients. One micro-batch under surgery: a forward pass that is watched, and its backward."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size
from regrad.perexample.deposits import collect_into
from regrad.perexample.ledger import Ledger
from regrad.perexample.probing import probe, recall, run_under
from regrad.perexample.surgery import Surgery


def run_forward(
    model: nn.Module,
    losses: Losses,
    batch: Any,
    *,
    new_ledger: Callable[[], Ledger],
    surgery_type: type[Surgery] = Surgery,
) -> tuple[Surgery, Tensor]:
    """Run the losses under a surgery, with a fresh probe if the remembered one does not fit.

    Args:
        model: whose parameters the ledgers' sums hold.
        losses: returns [B].
        batch: the micro-batch.
        new_ledger: makes an empty one; each try needs its own.
        surgery_type: what each call of the forward pass means.

    Returns:
        The surgery, whose ledger knows which uses to expect, and the losses [B].

    Raises:
        ValueError: if the model does something that the surgery refuses.
    """
    size = batch_size(batch)
    remembered = recall(model, losses, batch)
    if remembered is not None:
        surgery = surgery_type(new_ledger(), size, remembered)
        # The model may have changed since, in its mode or its layers; a fresh probe then tells, or refuses.
        with suppress(ValueError):
            return surgery, run_under(surgery, model, losses, batch=batch)
    ledger = new_ledger()
    surgery = surgery_type(ledger, size, probe(model, losses, batch, sums=ledger.sums))
    return surgery, run_under(surgery, model, losses, batch=batch)


def run_backward(surgery: Surgery, values: Tensor, seeds: Tensor, *, keep: bool = False) -> None:
    """Fold every example's gradient of `values` · `seeds` into the sums of the surgery's ledger.

    Args:
        surgery: under which `values` came about.
        values: losses [B].
        seeds: what each loss is multiplied by [B].
        keep: whether another backward pass follows.

    Raises:
        ValueError: if a parameter reaches the losses past the surgery: its statistics would be wrong.
    """
    ledger = surgery.ledger
    surgery.backward = True
    # Sharded parameters stand outside the graph; their whole ones are there for one pass only.
    own = ledger.sums.parameters
    watched = {name: p for name, p in ledger.parameters.items() if not hasattr(own[name], "device_mesh")}
    # The anchor comes first: every rule's function has it as an input, so all of them run, even the first layer's,
    # whose other inputs are data and need no gradient.
    inputs = (surgery.anchor, *watched.values())
    # The rules have cast what autocast would cast; deposits are summed in the dtypes they come in.
    with collect_into(ledger), surgery, torch.autocast(values.device.type, enabled=False):
        # torch.autograd.grad would set the surgery aside, and checkpointing computes its forward again in here.
        run = torch.autograd.Variable._execution_engine.run_backward  # type: ignore[attr-defined]
        gradients = run((values,), (seeds,), keep, False, inputs, allow_unreachable=True, accumulate_grad=False)
    for name, gradient in zip(watched, gradients[1:], strict=True):
        # Rules work on detached weights, so an ordinary gradient shows a use that none of them has seen.
        if gradient is not None:
            raise ValueError(f"{name}: reaches the losses by a way no torch function shows; use method='loop'")
    with torch.no_grad():
        ledger.finish()
