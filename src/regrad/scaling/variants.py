"""The rungs V0 to V4 of ALSDGC, and the hyperparameters they share.

Acts on: the loss and the gradient (see alsdgc.py).
"""

import math
from dataclasses import dataclass
from typing import Any

import regrad.transforms.checks as checks

#: The largest power of two that float32 can hold.
LARGEST_SCALE = 2.0**127


@dataclass(frozen=True)
class Rung:
    """What one variant does, and where it starts if the user does not say."""

    unscales: bool
    skips_overflows: bool
    averages_norms: bool
    watches_loss: bool
    init_scale: float
    init_threshold: float


RUNGS = {
    "V0": Rung(False, False, False, False, 1.0, 1.0),
    "V1": Rung(True, False, False, False, 1.0, 1.0),
    "V2": Rung(True, True, False, False, 2.0**16, 1.0),
    "V3": Rung(True, True, True, False, 2.0**16, math.inf),
    "V4": Rung(True, True, True, True, 2.0**16, math.inf),
}


def positive_or_infinite(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a number > 0, infinity included."""
    try:
        checks.positive(name, value)
    except ValueError:
        if not (isinstance(value, float) and value == math.inf):
            shown = " ".join(repr(value).split())
            raise ValueError(f"{name} must be a number > 0, or inf, got {shown}") from None


@dataclass(frozen=True)
class Settings:
    """Checked hyperparameters; :class:`regrad.scaling.alsdgc.ALSDGC` documents them."""

    init_scale: float
    init_threshold: float
    growth_factor: float
    backoff_factor: float
    growth_interval: int
    min_scale: float
    max_scale: float
    adjustment_factor: float
    norm_type: float
    beta: float
    warmup_steps: int
    multiple: float
    min_multiple: float
    gate_zscore: float
    gate_factor: float
    gate_recovery: int
    frozen: bool

    def __post_init__(self) -> None:
        """Refuse a value out of range, by name."""
        checks.in_range("min_scale", self.min_scale, 0.0, LARGEST_SCALE)
        checks.in_range("max_scale", self.max_scale, self.min_scale, LARGEST_SCALE)
        checks.in_range("init_scale", self.init_scale, self.min_scale, self.max_scale)
        checks.positive("init_scale", self.init_scale)
        positive_or_infinite("init_threshold", self.init_threshold)
        positive_or_infinite("norm_type", self.norm_type)
        for name in ("growth_factor", "adjustment_factor", "gate_factor"):
            checks.in_range(name, getattr(self, name), 1.0, math.inf, open_low=True)
        checks.in_range("backoff_factor", self.backoff_factor, 0.0, 1.0, open_low=True, open_high=True)
        checks.in_range("beta", self.beta, 0.0, 1.0, open_high=True)
        checks.positive("min_multiple", self.min_multiple)
        checks.in_range("multiple", self.multiple, self.min_multiple, math.inf)
        checks.positive("gate_zscore", self.gate_zscore)
        for name, low in (("growth_interval", 1), ("gate_recovery", 1), ("warmup_steps", 1)):
            checks.integer_at_least(name, getattr(self, name), low)
        checks.flag("frozen", self.frozen)
