"""What the public C4 trainer's SGG does at every step, besides its reclustering.

Acts on: the gradient (one factor per tensor, for this step only) and the update (one factor per parameter
group).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regrad.optim.sgg_settings import SGGSettings
from regrad.transforms.gradient_grouping import (
    public_c4_distances,
    public_c4_gradient_factor,
    public_c4_group_scale,
)


@contextmanager
def public_c4_gradients(params: list[Tensor]) -> Iterator[None]:
    """Lend every parameter a scaled copy of its gradient; the gradients themselves come back unchanged."""
    gradients = [p.grad for p in params]
    try:
        for p, grad in zip(params, gradients, strict=True):
            if grad is not None:
                p.grad = grad * public_c4_gradient_factor(p, grad).to(grad.dtype)
        yield
    finally:
        for p, grad in zip(params, gradients, strict=True):
            p.grad = grad


def update_group_scales(groups: list[list[Tensor]], progress: dict[str, Any], settings: SGGSettings) -> None:
    """Average each group's scale over the steps, in ``progress["group_scales"]`` (one number per group).

    The reference, the median distance over all groups, is taken at the first step and kept. Groups without
    matrices that have gradients keep their scale.

    Args:
        groups: Per group, its parameters with gradients that count; those of dimension < 2 are left out here.
        progress: The wrapper's saved numbers; ``reference`` and ``group_scales`` are changed.
        settings: beta3, bounds and eps.
    """
    scales = progress["group_scales"]
    scales += [1.0] * (len(groups) - len(scales))
    matrices = [[p.grad for p in group if p.dim() > 1 and p.grad is not None] for group in groups]
    distances = [public_c4_distances(grads) if grads else None for grads in matrices]
    if progress["reference"] is None and any(d is not None for d in distances):
        progress["reference"] = float(torch.cat([d for d in distances if d is not None]).median())
    for i, d in enumerate(distances):
        if d is not None and bool(torch.isfinite(d.amax())):
            reference = d.new_full((), progress["reference"])
            raw = public_c4_group_scale(d, reference, bounds=settings.bounds, eps=settings.eps)
            scales[i] = settings.beta3 * scales[i] + (1 - settings.beta3) * float(raw)
