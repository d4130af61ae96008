"""What a wrapper may know about its base optimizer: momentum, second moment, decoupled weight decay.

Acts on: nothing; it only reads. Optimizers name these things differently and there is no common interface.
"""

from typing import Any

from torch import Tensor
from torch.optim import Adafactor, Muon, Optimizer

from regrad.optim.wrapper import innermost

_MOMENTUM = ("exp_avg", "momentum_buffer", "m")
_SECOND_MOMENT = ("exp_avg_sq", "v", "square_avg")


def momentum(base: Optimizer, param: Tensor) -> Tensor | None:
    """Return the base optimizer's running mean of the gradient of ``param`` (its own tensor), or None."""
    return _find(base, param, _MOMENTUM)


def second_moment(base: Optimizer, param: Tensor) -> Tensor | None:
    """Return the base optimizer's per-entry second moment of ``param`` (its own tensor), or None."""
    return _find(base, param, _SECOND_MOMENT)


def _find(base: Optimizer, param: Tensor, names: tuple[str, ...]) -> Tensor | None:
    state = innermost(base).state.get(param, {})
    for name in names:
        value = state.get(name)
        if isinstance(value, Tensor) and value.shape == param.shape:
            return value
    return None


def decay_factor(base: Optimizer, group: dict[str, Any]) -> float:
    """Return the factor by which the base optimizer shrinks the parameters of ``group`` beside its update.

    1.0 where there is no decoupled weight decay, and where its size cannot be read off the group
    (pytorch_optimizer's AdaFactor, whose decay follows its own relative step size).
    """
    decay = float(group.get("weight_decay") or 0.0)
    inner = innermost(base)
    always_decoupled = isinstance(inner, Adafactor | Muon) or getattr(inner, "decoupled_weight_decay", False)
    if decay == 0.0 or "relative_step" in group:
        return 1.0
    if always_decoupled or group.get("decoupled_weight_decay") or group.get("weight_decouple"):
        return 1.0 - decay * (1.0 if group.get("fixed_decay") else float(group["lr"]))
    return 1.0
