"""Clippers one would use instead: fixed, average-based and percentile thresholds.

Acts on: the gradient, before the base step. A clipper is called with all parameters of an optimizer and
clips their gradients in place, together; it is called only if some gradient exists and all are finite.
"""

import bisect
import math
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

import regrad.transforms.checks as checks
from regrad.scaling.variants import positive_or_infinite
from regrad.transforms.clipping import Moments, percentile, update_moments


class Clipper(Protocol):
    """What :class:`regrad.scaling.baselines.ClippedScaler` asks of a clipper."""

    def clip_(self, params: Sequence[Tensor]) -> None:
        """Clip the parameters' gradients in place."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers and lists."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""


class FixedClip:
    """Clip the joint 2-norm to a constant, as ``clip_grad_norm_`` does; inf clips nothing.

    Args:
        max_norm: Threshold, > 0 or inf.
    """

    def __init__(self, *, max_norm: float = 1.0) -> None:
        positive_or_infinite("max_norm", max_norm)
        self.max_norm = max_norm

    def clip_(self, params: Sequence[Tensor]) -> None:
        """Clip the parameters' gradients in place."""
        if self.max_norm < math.inf:
            clip_grads_with_norm_(params, self.max_norm, joint_norm(params))

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is no state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore nothing."""


class AutoClip:
    """Clip to a percentile of all norms so far, the present one included.

    Args:
        percent: p in [0, 100]; the paper's choice is 10.

    Source: AutoClip (Seetharaman et al. 2020, arXiv 2007.14469), algorithm 1.
    """

    def __init__(self, *, percent: float = 10.0) -> None:
        checks.in_range("percent", percent, 0.0, 100.0)
        self.percent = percent
        self.norms: list[float] = []

    def clip_(self, params: Sequence[Tensor]) -> None:
        """Count the norm in, then clip the parameters' gradients in place."""
        norm = joint_norm(params)
        bisect.insort(self.norms, norm.item())
        clip_grads_with_norm_(params, percentile(self.norms, self.percent), norm)

    def state_dict(self) -> dict[str, Any]:
        """Return the sorted norms."""
        return {"norms": list(self.norms)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.norms = list(state_dict["norms"])


class EMAClip:
    """Clip to a multiple of the running average of clipped norms: ALSDGC's V3 without its loss scaling.

    Args:
        multiple: k in θ = k * mean, > 0.
        beta: Weight of the past, in [0, 1).
        warmup_steps: Steps that only count norms in, >= 1.
    """

    def __init__(self, *, multiple: float = 2.0, beta: float = 0.98, warmup_steps: int = 100) -> None:
        checks.positive("multiple", multiple)
        checks.in_range("beta", beta, 0.0, 1.0, open_high=True)
        checks.integer_at_least("warmup_steps", warmup_steps, 1)
        self.multiple = multiple
        self.beta = beta
        self.warmup_steps = warmup_steps
        self.norms = Moments()

    def clip_(self, params: Sequence[Tensor]) -> None:
        """Clip the parameters' gradients in place, then count the clipped norm in."""
        norm = joint_norm(params)
        warm = self.norms.number >= self.warmup_steps
        threshold = self.multiple * self.norms.mean if warm else math.inf
        if warm:
            clip_grads_with_norm_(params, threshold, norm)
        self.norms = update_moments(self.norms, min(norm.item(), threshold), beta=self.beta)

    def state_dict(self) -> dict[str, Any]:
        """Return the running moments."""
        return {"norms": list(self.norms)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.norms = Moments(*state_dict["norms"])


def joint_norm(params: Sequence[Tensor]) -> Tensor:
    """Return the joint 2-norm ``[]`` of the gradients that exist."""
    return get_total_norm([p.grad for p in params if p.grad is not None])
