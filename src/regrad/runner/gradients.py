"""How a batch's gradient reaches the optimizer.

Each object is called with the model, the problem's unreduced loss function and a batch, fills ``.grad`` and
returns the keyword arguments of ``optimizer.step``.
"""

from typing import Any

from torch import nn

from regrad.problems.batch import Examples, Losses


class Backward:
    """The ordinary gradient of the mean loss.

    Args:
        max_norm: Clip its global norm to this; None does not clip.
    """

    def __init__(self, max_norm: float | None = None) -> None:
        self.max_norm = max_norm

    def __call__(self, model: nn.Module, losses: Losses, batch: Examples) -> dict[str, Any]:
        losses(model, batch).mean().backward()
        if self.max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.max_norm)
        return {}
