"""The numbers an ALSDGC scaler keeps, and how they move at the end of an iteration.

Acts on: the loss, through the scale, and the gradient, through the thresholds. No tensors here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from regrad.scaling.variants import Rung, Settings
from regrad.transforms.clipping import (
    Moments,
    gate_multiple,
    is_high,
    update_clipping_threshold,
    update_moments,
)
from regrad.transforms.loss_scale import grow_after_interval, update_loss_scale


@dataclass
class Clip:
    """What is kept for one optimizer: its threshold and counts of its steps with gradients."""

    entries: int
    threshold: float
    norms: Moments = field(default_factory=Moments)
    norm: float = 0.0
    steps: int = 0
    clipped: int = 0
    skipped: int = 0


@dataclass
class StepOutcome:
    """What one optimizer's step has shown: its record, whether it overflowed, and its learning rate."""

    clip: Clip
    overflowed: bool = False
    lr: float = 0.0


@dataclass
class Controller:
    """Scale, multiple, running loss, and one :class:`Clip` per optimizer.

    Args:
        rung: Which rules act.
        settings: Their constants.
        scale: The loss scale s.
        multiple: k in θ = k * mean.
        good_steps: Steps since the scale last changed (V2-V4).
        losses: Running moments of the loss (V4).
        clips: In the order in which optimizers were first seen.
    """

    rung: Rung
    settings: Settings
    scale: float
    multiple: float
    good_steps: int = 0
    losses: Moments = field(default_factory=Moments)
    clips: list[Clip] = field(default_factory=list)

    def advance(self, outcomes: Sequence[StepOutcome], loss: float) -> None:
        """Move scale, multiple and thresholds after the steps of one iteration.

        An overflow anywhere moves the scale; it leaves the running loss and the overflowed optimizers'
        thresholds as they were.

        Args:
            outcomes: One per optimizer that had gradients; none means nothing happened.
            loss: The iteration's loss, unscaled; read by V4 only.
        """
        if not outcomes or self.settings.frozen:
            return
        overflow = any(outcome.overflowed for outcome in outcomes)
        self._move_scale(outcomes[-1].clip.norm, loss, overflow)
        if self.rung.watches_loss and not overflow and math.isfinite(loss):
            self._move_multiple(loss)
        for outcome in outcomes:
            if not outcome.overflowed:
                self._move_threshold(outcome.clip, outcome.lr)

    def _move_scale(self, norm: float, loss: float, overflow: bool) -> None:
        c = self.settings
        if not self.rung.skips_overflows:
            self.scale = update_loss_scale(
                self.scale, norm, loss,
                growth_factor=c.growth_factor, min_scale=c.min_scale, max_scale=c.max_scale,
            )  # fmt: skip
            return
        self.scale, self.good_steps = grow_after_interval(
            self.scale, self.good_steps, overflow=overflow,
            growth_factor=c.growth_factor, backoff_factor=c.backoff_factor, growth_interval=c.growth_interval,
            min_scale=c.min_scale, max_scale=c.max_scale,
        )  # fmt: skip

    def _move_multiple(self, loss: float) -> None:
        """Compare the loss with its past, then count it in."""
        c = self.settings
        if self.losses.number >= c.warmup_steps:
            self.multiple = gate_multiple(
                self.multiple, is_high(self.losses, loss, zscore=c.gate_zscore),
                factor=c.gate_factor, recovery=c.gate_recovery, low=c.min_multiple, high=2.0 * c.multiple,
            )  # fmt: skip
        self.losses = update_moments(self.losses, loss, beta=c.beta)

    def _move_threshold(self, clip: Clip, lr: float) -> None:
        c = self.settings
        if not self.rung.averages_norms:
            clip.threshold = update_clipping_threshold(
                clip.threshold, clip.norm, lr, adjustment_factor=c.adjustment_factor
            )
            return
        # The clipped norm is averaged, so a spike cannot raise its own threshold.
        norm = min(clip.norm, clip.threshold)
        if math.isfinite(norm):
            clip.norms = update_moments(clip.norms, norm, beta=c.beta)
        if clip.norms.number >= c.warmup_steps:
            clip.threshold = self.multiple * clip.norms.mean
