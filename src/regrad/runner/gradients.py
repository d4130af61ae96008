"""How a batch's gradient reaches the optimizer.

Each object is called with the model, the problem's unreduced loss function and a batch, fills
``.grad`` and returns the keyword arguments of ``optimizer.step``.
"""

from typing import Any

from torch import nn

from regrad.perexample.batches import Losses
from regrad.perexample.engine import gradient_statistics
from regrad.perexample.training import assign_grad


class Backward:
    """The ordinary gradient of the mean loss."""

    def __call__(self, model: nn.Module, losses: Losses, batch: Any) -> dict[str, Any]:
        """Back-propagate the mean of the losses."""
        losses(model, batch).mean().backward()
        return {}


class ExampleSigns:
    """The mean over groups of examples of the sign of the group's mean gradient, in place of the gradient.

    Args:
        group_size: k >= 1, a divisor of the batch size; 1 takes the sign of every example's gradient.
        method: Of ``gradient_statistics``.
    """

    def __init__(self, group_size: int = 1, method: str = "vmap") -> None:
        self.group_size, self.method = group_size, method

    def __call__(self, model: nn.Module, losses: Losses, batch: Any) -> dict[str, Any]:
        """Write the mean sign into ``.grad``."""
        found = gradient_statistics(model, losses, batch, ["mean_sign"], method=self.method, group_size=self.group_size)
        assign_grad(model, found["mean_sign"])
        return {}


class Statistics:
    """Per-example statistics for an optimizer whose ``step`` takes them; the mean goes into ``.grad``.

    Args:
        names: Statistics beside the mean.
        method: Of ``gradient_statistics``.
    """

    def __init__(self, names: tuple[str, ...] = ("variance",), method: str = "graph") -> None:
        self.names, self.method = tuple(names), method

    def __call__(self, model: nn.Module, losses: Losses, batch: Any) -> dict[str, Any]:
        """Write the mean into ``.grad`` and return all statistics."""
        found = gradient_statistics(model, losses, batch, ["mean", *self.names], method=self.method)
        assign_grad(model, found["mean"])
        return {"statistics": found}
