"""Resets of the optimizer in mid-run, as we define them: the DGS document names them and gives no procedure.

Acts on: the update, through the optimizer's state and its learning rate.
"""

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

import regrad.transforms.checks as checks
from regrad.optim.wrapper import OptimizerWrapper

RESETS = ("soft", "hard")
MILESTONES = (0.5, 0.75)
WARMUP, FINAL = 0.05, 0.1


class Resetting(OptimizerWrapper):
    """An optimizer that is reset at 50 % and 75 % of the run, under a cosine schedule of its own.

    * hard: all state is dropped and the learning rate jumps back to its base, from where the cosine starts
      anew over the steps that are left (a warm restart); the weights stay.
    * soft: all state but step counters is halved and the learning rate climbs linearly, over 5 % of the
      run, from zero back onto the cosine, which goes on.

    An optimizer without state feels the learning rate only. The first 5 % are a warm-up, the end is 0.1 of
    the base, as in the runs without resets; the run's own schedule must be constant without warm-up.

    Args:
        base: The optimizer.
        reset: "soft" or "hard".
        steps: Length of the run, >= 1.
    """

    def __init__(self, base: Optimizer, *, reset: str, steps: int) -> None:
        checks.one_of("reset", reset, RESETS)
        checks.integer_at_least("steps", steps, 1)
        super().__init__(base)
        self.reset, self.steps, self.taken = reset, steps, 0

    def take_step(self) -> None:
        """Reset where it is due, then let the base step at the scaled learning rate."""
        if self.taken in milestones(self.steps):
            self._reset_state()
        factor = learning_rate_factor(self.taken, self.steps, self.reset)
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["lr"] * factor
        self.base.step()
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
        self.taken += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with the number of steps taken."""
        return super().state_dict() | {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state_dict)
        self.taken = state_dict["taken"]

    def _reset_state(self) -> None:
        if self.reset == "hard":
            self.base.state.clear()
            return
        for kept in self.base.state.values():
            for name, value in kept.items():
                if isinstance(value, Tensor) and name != "step":
                    value.mul_(0.5)


def milestones(steps: int) -> list[int]:
    """Return the step numbers before which a reset happens."""
    return [round(share * steps) for share in MILESTONES]


def learning_rate_factor(step: int, steps: int, reset: str) -> float:
    """Return the factor on the learning rate at a step (0-based)."""
    warmup = round(WARMUP * steps)
    past = [m for m in milestones(steps) if m <= step]
    start = past[-1] if past else 0
    ramp = min(1.0, (step - start + 1) / (warmup + 1))
    if reset == "hard" and past:
        return cosine((step - start) / max(1, steps - start))
    if past:
        return ramp * cosine((step - warmup) / max(1, steps - warmup))
    return ramp if step < warmup else cosine((step - warmup) / max(1, steps - warmup))


def cosine(progress: float) -> float:
    """Return the factor of a cosine from 1 to 0.1 at a progress in [0, 1]."""
    return FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
