"""Acts on: per-example gradients. The definition: one backward pass for each example, and nothing clever.

Accepts every model torch can differentiate whose examples do not see each other. `vmap.py` and `graph.py`
must equal it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, check_losses, take
from regrad.perexample.purity import watch_pass
from regrad.perexample.sums import Sums


def mean_loss(model: nn.Module, losses: Losses, batch: Any, group: slice) -> Tensor:
    """The mean loss of the examples in `group`, computed without the others."""
    with torch.enable_grad():
        own = losses(model, take(batch, group))
        return check_losses(own, group.stop - group.start, batch_size(batch)).mean()


def gradients_of(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    """The gradient [*parameter] of `loss` for every trainable parameter.

    A parameter the loss does not reach has gradient zero. Nothing is divided by the size of the batch.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(trainable, gradients, strict=True))


def fold_by_loop(model: nn.Module, losses: Losses, batch: Any, *, sums: Sums, options: Mapping[str, int]) -> None:
    """Fold every example's gradient into `sums`, one at a time (`chunk_size` has nothing to do here)."""
    size = options["group_size"]
    for index in range(sums.rows):
        run = partial(mean_loss, model, losses, batch, slice(index * size, (index + 1) * size))
        # One pass tells of all of them whether they draw random numbers or keep a state.
        loss = run() if index else watch_pass(model, run)
        sums.fold_all({name: gradient.unsqueeze(0) for name, gradient in gradients_of(loss, model).items()}, index)
