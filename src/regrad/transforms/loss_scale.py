"""Loss-scale rules: the one ALSDGC prints, and the one with a growth interval that repairs it.

Acts on: the loss, through the factor it is multiplied by before backward. Numbers in, numbers out: a
scaler calls the rules with what it has read from the device, a simulation with what it has made up.
"""

import math
import struct


def update_loss_scale(
    loss_scale: float,
    gradient_norm: float,
    loss: float,
    *,
    growth_factor: float = 2.0,
    shrink_factor: float = 0.5,
    growth_interval: int = 1000,
    overflow: bool = False,
    min_scale: float = 1.0,
    max_scale: float = 2.0**16,
) -> float:
    """Return the next loss scale by the rule as printed.

    ``gradient_norm``, ``loss`` and ``growth_interval`` are taken and never read, as printed: without an
    overflow the scale is a clock, ``min(s0 * 2**t, 65536)``.

    Args:
        loss_scale: The present scale s, > 0.
        gradient_norm: Unused.
        loss: Unused.
        growth_factor: Multiplies the scale when there was no overflow.
        shrink_factor: Multiplies the scale after an overflow.
        growth_interval: Unused.
        overflow: Whether a gradient was not finite. The printed algorithm never computes it.
        min_scale: Floor after an overflow.
        max_scale: Ceiling of the growth.

    Source: ALSDGC, step 7, ``update_loss_scale``.
    Departures: the printed bounds 1 and 2**16 are keywords; only three arguments are positional.
    """
    if overflow:
        return max(loss_scale * shrink_factor, min_scale)
    return min(loss_scale * growth_factor, max_scale)


def grow_after_interval(
    loss_scale: float,
    good_steps: int,
    *,
    overflow: bool,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
    min_scale: float,
    max_scale: float,
) -> tuple[float, int]:
    """Return the next loss scale and the number of good steps since it last changed.

    With ``min_scale=0`` and ``max_scale=2**127`` this is the rule of ``torch.amp.GradScaler``, to the
    bit: like torch's, the scale is a float32.

    Args:
        loss_scale: The present scale s, > 0.
        good_steps: Steps in a row without overflow since the last change, >= 0.
        overflow: Whether a gradient of this step was not finite.
        growth_factor: Multiplies the scale after ``growth_interval`` good steps, > 1.
        backoff_factor: Multiplies the scale after an overflow, in (0, 1).
        growth_interval: Good steps in a row that earn a growth, >= 1.
        min_scale: Floor, >= 0.
        max_scale: Ceiling.

    Source: ALSDGC, the default ``growth_interval=1000`` that the printed rule ignores.
    """
    if overflow:
        return max(float32(loss_scale * backoff_factor), min_scale), 0
    if good_steps + 1 < growth_interval:
        return loss_scale, good_steps + 1
    larger = float32(min(loss_scale * growth_factor, max_scale))
    return (larger if math.isfinite(larger) else loss_scale), 0


def float32(value: float) -> float:
    """Round to the nearest float32, to infinity beyond its range."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
