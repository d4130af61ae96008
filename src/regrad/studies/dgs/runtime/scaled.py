"""The gradient scaled by DGS's four steps on its way to another optimizer."""

from typing import Any

import torch
from torch import nn

from regrad.perexample.batches import Losses
from regrad.transforms.dgs import dgs_updates


class Scaled:
    """The gradient of the mean loss, each entry times its adaptive learning rate, lr / (|g| + eps).

    Adam does not see lr, and LARS only in the parameters that it does not normalise, biases and norms.

    Args:
        lr: Base rate of the adaptive learning rates; the printed one.
        eps: Of the scaling factors; the printed one.
    """

    def __init__(self, lr: float = 1e-3, eps: float = 1e-8) -> None:
        self.lr, self.eps = lr, eps

    def __call__(self, model: nn.Module, losses: Losses, batch: Any, **_: Any) -> dict[str, Any]:
        losses(model, batch).mean().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        with torch.no_grad():
            updates = dgs_updates(grads, "steps", lr=self.lr, eps=self.eps)
            for grad, update in zip(grads, updates, strict=True):
                grad.copy_(update)
        return {}
