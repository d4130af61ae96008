"""How a batch's gradient reaches the optimizer where it is made of the gradients of single examples.

A file of its own, so that only runs that use it have the per-example engine in their fingerprint.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from regrad.perexample.batches import Losses, batch_size
from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.transforms.clip_statistics import clip_statistics


class Elementwise:
    """The mean over examples of a torch function of each example's gradient, in place of the gradient.

    Args:
        function: Name of a function in ``torch`` that acts elementwise.
        arguments: Its keyword arguments.
        method: Of ``gradient_statistics``.
    """

    def __init__(self, function: str, arguments: dict[str, float] | None = None, method: str = "vmap") -> None:
        self.function, self.method = partial(getattr(torch, function), **(arguments or {})), method

    def __call__(self, model: nn.Module, losses: Losses, batch: Any) -> dict[str, Any]:
        means = gradient_statistics(model, losses, batch, {"own": self.function}, method=self.method)
        assign_grad(model, means["own"])
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
        signs = gradient_statistics(model, losses, batch, ["mean_sign"], method=self.method, group_size=self.group_size)
        assign_grad(model, signs["mean_sign"])
        return {}


class Statistics:
    """Per-example statistics for an optimizer whose ``step`` takes them; the mean goes into ``.grad``.

    Args:
        names: Statistics beside the mean, as ``optimizer.step`` calls them.
        method: Of ``gradient_statistics``.
        max_norm: Clip the mean's global norm to this, and scale the other statistics alike; None does not.
    """

    def __init__(
        self,
        names: tuple[str, ...] = ("variance",),
        method: str = "graph",
        max_norm: float | None = None,
    ) -> None:
        self.names, self.method, self.max_norm = tuple(names), method, max_norm

    def __call__(self, model: nn.Module, losses: Losses, batch: Any) -> dict[str, Any]:
        """Write the mean into ``.grad`` and return all statistics and the number of examples."""
        statistics = gradient_statistics(model, losses, batch, ["mean", *self.names], method=self.method)
        if self.max_norm is not None:
            statistics = clip_statistics(statistics, self.max_norm)[0]
        # The optimizer reads the mean from ``.grad``, so that a clipped or reduced one cannot disagree with it.
        assign_grad(model, statistics.pop("mean"))
        return {"statistics": statistics, "batch_size": batch_size(batch)}
