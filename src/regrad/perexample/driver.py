"""Acts on: per-example gradients. The forward pass of one micro-batch, by what its model's probe knows."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size
from regrad.perexample.ledger import Ledger
from regrad.perexample.passes import run_under
from regrad.perexample.probing import probe, recall
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
    ledger = new_ledger()
    remembered = recall(model, losses, batch, parameters=ledger.sums.parameters)
    if remembered is not None:
        surgery = surgery_type(ledger, size, remembered)
        # The model may have changed since, in its mode or its layers; a fresh probe then tells, or refuses.
        with suppress(ValueError):
            return surgery, run_under(surgery, model, losses, batch)
    ledger = new_ledger()
    surgery = surgery_type(ledger, size, probe(model, losses, batch, parameters=ledger.sums.parameters))
    return surgery, run_under(surgery, model, losses, batch)
