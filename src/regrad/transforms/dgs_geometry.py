"""What the readings of Dynamic Gradient Scaling do to a gradient: the data of one figure with three panels.

Acts on: the gradient, before the base step.

Every function is pure and returns plain numbers. The tests of the theorems T1–T9 rest on the same ones.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regrad.transforms.dgs import dgs_updates
from regrad.transforms.dgs_impact import Gamma


def update_sizes(magnitudes: Sequence[float], reading: str, *, lr: float = 1.0, eps: float = 1e-8) -> list[float]:
    """Return |Δ_i| for one gradient whose entries have these magnitudes > 0: panel 1, against |g_i|.

    The sentence "parameters with higher gradients receive proportionally smaller updates" needs this to
    fall. It rises or is flat for every reading.
    """
    (delta,) = dgs_updates([torch.tensor(magnitudes, dtype=torch.float64)], reading, lr=lr, eps=eps)
    return delta.abs().tolist()


def inverse_update_sizes(magnitudes: Sequence[float], *, lr: float = 1.0, eps: float = 1e-8) -> list[float]:
    """Return lr |g_i| / (g_i² + eps), which falls above sqrt(eps) as the sentence says.

    A labelled extra: the document prints this formula nowhere.
    """
    return [lr * size / (size * size + eps) for size in magnitudes]


def log_slope(magnitudes: Sequence[float], sizes: Sequence[float]) -> float:
    """Return the least-squares slope of log |Δ_i| against log |g_i|: 1 for SGD, 0 for a sign."""
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (magnitudes, sizes))
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())


def cosine(updates: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """Return the cosine between two lists of tensors, each taken as one vector; nan if one is zero."""
    a, b = (torch.cat([t.detach().double().reshape(-1) for t in tensors]) for tensors in (updates, gradients))
    norms = float(a.norm() * b.norm())
    return float(a.dot(b)) / norms if norms else math.nan


def step_norms(
    counts: Sequence[int], reading: str, generator: torch.Generator, *, gamma: Gamma = 1.0, lr: float = 1.0
) -> list[float]:
    """Return ‖Δ‖₂ for one standard normal gradient of each size n: panel 3, against n.

    For "equation" with γ = 1 it is lr ‖g‖₂ / ‖g‖₁ ≈ lr sqrt(π / 2n); for "steps" lr sqrt(n).
    """
    norms = []
    for count in counts:
        gradient = torch.randn(count, dtype=torch.float64, generator=generator)
        (delta,) = dgs_updates([gradient], reading, lr=lr, gamma=gamma)
        norms.append(float(delta.norm()))
    return norms
