"""Loss scalers one would use instead of ALSDGC, behind the four calls of ``torch.amp.GradScaler``.

Acts on: the loss (scaling) and the gradient (unscaling, clipping).
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

import regrad.transforms.checks as checks
from regrad.scaling.alsdgc import ALSDGC
from regrad.scaling.clippers import AutoClip, Clipper, EMAClip, FixedClip
from regrad.scaling.gradients import gradients_of, unscale_
from regrad.scaling.order import OrderOfUse
from regrad.scaling.third_party import AGC, ZClip
from regrad.scaling.variants import LARGEST_SCALE


class FixedScaler:
    """Multiply the loss by a constant, divide the gradients by it, and skip steps that are not finite.

    With scale 1 and finite gradients this is training without a scaler, to the bit.

    Args:
        scale: In (0, 2**127]; a power of two loses no digit.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        checks.in_range("scale", scale, 0.0, LARGEST_SCALE, open_low=True)
        self._scale = float(scale)
        self._found_inf: dict[Optimizer, Tensor | None] = {}

    def scale(self, outputs: Tensor) -> Tensor:
        """Multiply a loss by the scale."""
        return outputs * torch.full((), self._scale, device=outputs.device, dtype=torch.float32)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the optimizer's gradients by the scale, in place; once per ``update``."""
        if optimizer in self._found_inf:
            raise RuntimeError("unscale_() may be called once per optimizer and update(), before step()")
        grads = gradients_of(optimizer)
        self._found_inf[optimizer] = unscale_(grads, self._scale) if grads else None

    def step(self, optimizer: Optimizer) -> Any:
        """Step the optimizer unless a gradient is not finite."""
        if optimizer not in self._found_inf:
            self.unscale_(optimizer)
        found_inf = self._found_inf[optimizer]
        return None if found_inf is not None and found_inf.item() else optimizer.step()

    def update(self) -> None:
        """Close the iteration; the scale stays."""
        self._found_inf = {}

    def get_scale(self) -> float:
        """Return the scale."""
        return self._scale

    def state_dict(self) -> dict[str, Any]:
        """Return the scale."""
        return {"scale": self._scale}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._scale = state_dict["scale"]


class ClippedScaler:
    """A loss scaler that clips after unscaling, each optimizer by a clipper of its own.

    A step with a gradient that is not finite leaves the clipper as it was; one without gradients leaves
    scaler and clipper as they were. Clippers are matched after a resume by order of first use.

    Args:
        scaler: A ``torch.amp.GradScaler`` or a :class:`FixedScaler`.
        clipper: A clipper without state yet; every optimizer gets a copy.
    """

    def __init__(self, scaler: Any, clipper: Clipper) -> None:
        self.scaler = scaler
        self._fresh = copy.deepcopy(clipper)
        self._clippers: list[Clipper] = []
        self._order = OrderOfUse()
        self._unscaled: set[Optimizer] = set()
        self._recorded = False

    def scale(self, outputs: Any) -> Any:
        """Multiply losses by the scale."""
        return self.scaler.scale(outputs)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the optimizer's gradients by the scale, in place."""
        if gradients_of(optimizer):  # GradScaler could not finish an iteration without gradients
            self.scaler.unscale_(optimizer)
            self._unscaled.add(optimizer)

    def step(self, optimizer: Optimizer) -> Any:
        """Unscale if that is still to do, clip, and step unless a gradient is not finite."""
        clipper = self._clipper_of(optimizer)
        grads = gradients_of(optimizer)
        if not grads:
            return optimizer.step()
        if optimizer not in self._unscaled:
            self.unscale_(optimizer)
        self._recorded = True
        if torch.stack([grad.isfinite().all().to(grads[0].device) for grad in grads]).all():
            clipper.clip_([p for group in optimizer.param_groups for p in group["params"]])
        return self.scaler.step(optimizer)

    def update(self) -> None:
        """Close the iteration."""
        if self._recorded:
            self.scaler.update()
        self._unscaled = set()
        self._recorded = False

    def get_scale(self) -> float:
        """Return the present scale."""
        return self.scaler.get_scale()

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's and the clippers' states."""
        return {"scaler": self.scaler.state_dict(), "clippers": [c.state_dict() for c in self._clippers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.scaler.load_state_dict(state_dict["scaler"])
        self._clippers = []
        for state in state_dict["clippers"]:
            self._clippers.append(copy.deepcopy(self._fresh))
            self._clippers[-1].load_state_dict(state)
        self._order = OrderOfUse()
        self._unscaled = set()
        self._recorded = False

    def _clipper_of(self, optimizer: Optimizer) -> Clipper:
        number = self._order.number(optimizer)
        if number == len(self._clippers):
            self._clippers.append(copy.deepcopy(self._fresh))
        return self._clippers[number]


#: Clippers by the name a spec uses; each takes its own keywords.
CLIPPERS: dict[str, Callable[..., Clipper]] = {
    "none": partial(FixedClip, max_norm=float("inf")),
    "fixed": FixedClip,
    "autoclip": AutoClip,
    "zclip": ZClip,
    "agc": AGC,
    "ema": EMAClip,
}

#: Loss scalers by the name a spec uses; ``grad_scaler`` wants its ``device``.
SCALERS: dict[str, Callable[..., Any]] = {
    "fixed": FixedScaler,
    "grad_scaler": torch.amp.GradScaler,
    "alsdgc": ALSDGC,
}
