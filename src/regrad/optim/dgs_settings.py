"""What :class:`regrad.optim.dgs.DGS` accepts, checked per group."""

from typing import Any

import torch
from torch import Tensor

import regrad.transforms.checks as checks
from regrad.transforms.dgs import READINGS, STEP_READINGS

LETTERS = {
    "E1": "equation",
    "E1L": "equation_per_tensor",
    "E1T": "equation_tensor_norms",
    "E3": "equation_as_rate",
    "E4": "equation_magnitude_rate",
    "S1": "steps",
    "S1T": "steps_per_tensor",
}


def check_group(group: dict[str, Any], reading: str) -> None:
    """Raise ``ValueError`` unless the group's hyperparameters are in range and its reading is ``reading``."""
    if meant := LETTERS.get(str(group["reading"]).upper()):
        raise ValueError(f"reading: {group['reading']!r} is the report's letter for {meant!r}; pass that")
    checks.one_of("reading", group["reading"], READINGS)
    if group["reading"] != reading:
        raise ValueError(f"reading must be the same for all groups, {reading!r}, got {group['reading']!r}")
    checks.learning_rate("lr", group["lr"])
    checks.positive("beta", group["beta"])
    checks.positive("eps", group["eps"])
    checks.in_range("momentum", group["momentum"], 0, 1, open_high=True)
    checks.non_negative("weight_decay", group["weight_decay"])
    checks.flag("maximize", group["maximize"])
    checks.optional_flag("foreach", group["foreach"])
    _check_gamma(group["gamma"])
    if reading in STEP_READINGS:
        _check_unused(group)


def check_tensors(group: dict[str, Any]) -> None:
    """Raise ``ValueError`` unless the group's parameters suit its reading, eps and γ."""
    gamma = group["gamma"]
    for param in group["params"]:
        if param.is_complex():
            raise ValueError(f"params must be real, got {param.dtype}: |g| is defined for real gradients")
        if group["reading"] == "steps" and torch.tensor(group["eps"]).to(param.dtype) == 0:
            raise ValueError(f"eps must not vanish in {param.dtype}, got {group['eps']}; 1e-7 does not")
    if not isinstance(gamma, list | tuple):
        return
    if len(gamma) != len(group["params"]):
        raise ValueError(f"gamma must have {len(group['params'])} items, one per parameter, got {len(gamma)}")
    for i, (own, param) in enumerate(zip(gamma, group["params"], strict=True)):
        if isinstance(own, Tensor) and own.shape != param.shape:
            raise ValueError(f"gamma[{i}] must have shape {[*param.shape]}, got {[*own.shape]}")
        if isinstance(own, Tensor) and group["reading"] == "equation_tensor_norms":
            raise ValueError(f"gamma[{i}] must be a number for 'equation_tensor_norms', got a tensor")


def _check_gamma(gamma: Any) -> None:
    if isinstance(gamma, str):
        checks.one_of("gamma", gamma, ("1/n",))
        return
    if not isinstance(gamma, list | tuple):
        checks.non_negative("gamma", gamma)
        return
    for i, own in enumerate(gamma):
        if not isinstance(own, Tensor):
            checks.non_negative(f"gamma[{i}]", own)
        elif not bool(((own >= 0) & own.isfinite()).all()):
            raise ValueError(f"gamma[{i}] must hold finite numbers >= 0 only")


def _check_unused(group: dict[str, Any]) -> None:
    for name, neutral in (("beta", 1.0), ("gamma", "1/n")):
        value = group[name]
        if isinstance(value, list | tuple) or value != neutral:
            raise ValueError(f"{name} must stay {neutral!r}, {group['reading']!r} has none; got {value!r}")
