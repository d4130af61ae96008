"""Resets of the optimizer in mid-run, as we define them: the DGS document names them and gives no procedure.

Acts on: the update, through the optimizer's state and its learning rate.
"""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

import regrad.transforms.checks as checks
from regrad.optim.wrapper import OptimizerWrapper
from regrad.results import Schedule
from regrad.runner import schedules

RESETS = ("soft", "hard")
MILESTONES = (0.5, 0.75)
SCHEDULE = Schedule(shape="cosine", warmup=0.05, final=0.1)  # that of the runs without resets


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

    Raises:
        ValueError: An unknown reset or a length below 1.
    """

    def __init__(self, base: Optimizer, *, reset: str, steps: int) -> None:
        checks.one_of("reset", reset, RESETS)
        checks.integer_at_least("steps", steps, 1)
        super().__init__(base)
        self.reset, self.steps, self.step_count = reset, steps, 0

    def take_step(self) -> None:
        """Reset where it is due, then let the base step at the scaled learning rate."""
        if self.step_count in milestones(self.steps):
            self._reset_state()
        factor = learning_rate_factor(self.step_count, self.steps, self.reset)
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["lr"] * factor
        self.base.step()
        # The groups' own rate belongs to whoever set it, a scheduler included.
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
        self.step_count += 1

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step_count": self.step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.step_count = state_dict["step_count"]

    def _reset_state(self) -> None:
        if self.reset == "hard":
            self.base.state.clear()
            return
        for state in self.base.state.values():
            for name, value in state.items():
                # Half a step counter would change Adam's bias correction, which no average needs.
                if isinstance(value, Tensor) and name != "step":
                    value.mul_(0.5)


def milestones(steps: int) -> list[int]:
    return [round(share * steps) for share in MILESTONES]


def learning_rate_factor(step: int, steps: int, reset: str) -> float:
    """Return the factor on the learning rate at a step (0-based) of a run that is reset."""
    unbroken = schedules.learning_rate_factor(SCHEDULE, steps)(step)
    resets = [milestone for milestone in milestones(steps) if milestone <= step]
    if not resets:
        return unbroken
    since = step - resets[-1]
    if reset == "hard":
        return schedules.cosine(since / max(1, steps - resets[-1]), SCHEDULE.final)
    climb = min(1.0, (since + 1) / (round(SCHEDULE.warmup * steps) + 1))
    return climb * unbroken
