"""The factor on the learning rate over a run. Imports no torch."""

import math
from collections.abc import Callable

from regrad.results import Schedule


def learning_rate_factor(schedule: Schedule, steps: int) -> Callable[[int], float]:
    """Return the factor on the learning rate at each step (0-based) of a run of ``steps`` steps."""
    warmup = round(schedule.warmup * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if schedule.shape == "constant":
            return 1.0
        return cosine((step - warmup) / max(1, steps - warmup), schedule.final)

    return factor


def cosine(progress: float, final: float) -> float:
    """Return a half cosine's value from 1 at ``progress`` 0 to ``final`` at 1, and ``final`` from there on."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
