"""AdamW with the learning-rate schedule that SGG's public version 2 amounts to, without any grouping."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import AdamW


class HiddenSchedule(AdamW):
    """AdamW whose learning rate falls by ``decay`` at every step that is a multiple of ``interval``.

    It is what a scale that is the same for all entries does: S = max(decay^n, floor) after n events, from the
    step of the event on.

    Args:
        params: As for AdamW.
        decay: Factor an event, in (0, 1].
        interval: Steps between events, >= 1.
        floor: Lowest factor, in (0, 1].
        settings: Of AdamW.

    Raises:
        ValueError: A value out of range.
    """

    def __init__(
        self, params: Iterable[Any], *, decay: float, interval: int, floor: float = 0.1, **settings: Any
    ) -> None:
        for name, value in (("decay", decay), ("floor", floor)):
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value!r} must be in (0, 1]")
        if interval < 1:
            raise ValueError(f"interval={interval!r} must be >= 1")
        super().__init__(params, **settings)
        self.decay, self.interval, self.floor, self.taken = decay, interval, floor, 0

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        self.taken += 1
        factor = self.mean_scale()
        kept = [group["lr"] for group in self.param_groups]
        for group, lr in zip(self.param_groups, kept, strict=True):
            group["lr"] = lr * factor
        try:
            return super().step(closure)
        finally:
            for group, lr in zip(self.param_groups, kept, strict=True):
                group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.taken = state_dict["taken"]

    def mean_scale(self) -> float:
        """Return the factor of the last step."""
        return max(self.decay ** (self.taken // self.interval), self.floor)
