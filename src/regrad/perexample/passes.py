"""Acts on: per-example gradients. One forward pass that a surgery watches, and one backward pass into its ledger."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, check_losses
from regrad.perexample.deposits import collect_into
from regrad.perexample.distributed import is_sharded
from regrad.perexample.installing import install
from regrad.perexample.refusals import Refused
from regrad.perexample.surgery import Surgery


def run_under(surgery: Surgery, model: nn.Module, losses: Losses, batch: object) -> Tensor:
    """The losses [B], computed while the surgery watches.

    Raises:
        ValueError: if they are not one for each example, or the calls differ in number from the probe's.
    """
    surgery.model = model
    with surgery.ledger.watch.step(), torch.enable_grad(), install(surgery, model, sharded=is_sharded(model)), surgery:
        values = check_losses(losses(model, batch), surgery.size)
    if surgery.probe is not None and len(surgery.call_shapes) not in (0, len(surgery.probe.calls)):
        raise Refused("losses: the forward pass calls other functions for another number of examples")
    return values


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
    # Checkpointing computes blocks again, by the forward passes that they had.
    again = install(surgery, surgery.model, sharded=False) if surgery.ruled else nullcontext()
    # The rules have cast what autocast would cast; deposits are summed in the dtypes they come in.
    with ledger.watch.step(), again, collect_into(ledger), surgery, torch.autocast(values.device.type, enabled=False):
        # torch.autograd.grad would set the surgery aside, and checkpointing computes its forward again in here.
        run = torch.autograd.Variable._execution_engine.run_backward  # type: ignore[attr-defined]
        gradients = run((values,), (seeds,), keep, False, inputs, allow_unreachable=True, accumulate_grad=False)
    for name, gradient in zip(watched, gradients[1:], strict=True):
        # Rules work on detached weights, so an ordinary gradient shows a use that none of them has seen.
        if gradient is not None:
            raise Refused(f"{name}: reaches the losses by a way no torch function shows (an autograd.Function?)")
    with ledger.watch.step(), torch.no_grad():
        ledger.finish()
