"""Loss scalers as a spec names them: each is called with the device and its options.

Acts on: the loss (scaling) and the gradient (unscaling, clipping).
"""

from typing import Any, Literal

import torch

from regrad.scaling.alsdgc import ALSDGC
from regrad.scaling.baselines import CLIPPERS, ClippedScaler, FixedScaler


def alsdgc(device: torch.device, **options: Any) -> ALSDGC:
    """Return an ALSDGC scaler; its numbers follow the gradients to whatever device they are on."""
    return ALSDGC(**options)


def clipped(
    device: torch.device, *, clipper: str = "none", loss_scale: float | Literal["dynamic"] = 1.0, **options: Any
) -> ClippedScaler:
    """Return a clipper of ``CLIPPERS``, with its options, behind a constant loss scale or ``torch.amp.GradScaler``."""
    if clipper not in CLIPPERS:
        raise ValueError(f"clipper must be one of {', '.join(sorted(CLIPPERS))}, got {clipper!r}")
    scaler = torch.amp.GradScaler(device.type) if loss_scale == "dynamic" else FixedScaler(scale=loss_scale)
    return ClippedScaler(scaler, CLIPPERS[clipper](**options))
