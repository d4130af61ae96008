"""Adam's and SGD's steps with a scale per entry folded in, on lists of tensors.

Acts on: the update. Each function is one step of the named torch optimizer on short lists of parameters,
gradients and state, with the update, but not the decoupled weight decay, multiplied by ``scales``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]


def adam_step(
    params: Tensors,
    grads: Tensors,
    moments: tuple[Tensors, Tensors],
    *,
    steps: Sequence[float],
    settings: dict[str, Any],
    scales: Tensors | None,
) -> None:
    """Step of ``torch.optim.Adam`` and ``AdamW`` (no amsgrad), in place on parameters and moments.

    Args:
        params: Parameters, all on one device and of one dtype.
        grads: Their gradients, left as they are.
        moments: First and second moments.
        steps: Step numbers t >= 1, this step included.
        settings: The parameter group: lr, betas, eps, weight_decay, decoupled_weight_decay, maximize.
        scales: S per entry, or None for torch's own step, operation by operation.
    """
    lr, (b1, b2), decay = settings["lr"], settings["betas"], settings["weight_decay"]
    m, v = moments
    g: Tensors = torch._foreach_neg(grads) if settings["maximize"] else grads
    if decay and settings["decoupled_weight_decay"]:
        torch._foreach_mul_(params, 1 - lr * decay)
    elif decay:
        g = torch._foreach_add(g, params, alpha=decay)
    torch._foreach_lerp_(m, g, 1 - b1)
    torch._foreach_mul_(v, b2)
    torch._foreach_addcmul_(v, g, g, 1 - b2)
    denominators = torch._foreach_sqrt(v)
    torch._foreach_div_(denominators, [(1 - b2**t) ** 0.5 for t in steps])
    torch._foreach_add_(denominators, settings["eps"])
    sizes = [-lr / (1 - b1**t) for t in steps]
    if scales is None:
        torch._foreach_addcdiv_(params, m, denominators, sizes)
    else:
        torch._foreach_addcmul_(params, torch._foreach_div(m, denominators), scales, sizes)


def fused_adam_step(
    params: Tensors,
    grads: Tensors,
    moments: tuple[Tensors, Tensors],
    *,
    steps: Sequence[float],
    settings: dict[str, Any],
    scales: Tensors,
) -> None:
    """Do what `adam_step` does, up to rounding, with torch's fused kernel (CPU and CUDA).

    The kernel subtracts its update from a parameter; given zeros in the parameter's place, it leaves minus
    the update there, which is then added to the parameter, scaled. Decay is kept out of the kernel.
    """
    lr, (b1, b2), decay = settings["lr"], settings["betas"], settings["weight_decay"]
    if decay and settings["decoupled_weight_decay"]:
        torch._foreach_mul_(params, 1 - lr * decay)
    elif decay:
        grads = torch._foreach_add(grads, params, alpha=-decay if settings["maximize"] else decay)
    updates = [torch.zeros_like(p) for p in params]
    counters = {t: torch.full((), t, device=params[0].device) for t in set(steps)}
    torch._fused_adam_(
        updates, grads, *moments, [], [counters[t] for t in steps], lr=lr, beta1=b1, beta2=b2,
        weight_decay=0.0, eps=settings["eps"], amsgrad=False, maximize=settings["maximize"],
    )  # fmt: skip
    torch._foreach_addcmul_(params, updates, scales, 1.0)


def sgd_step(
    params: Tensors,
    grads: Tensors,
    buffers: Tensors | None,
    *,
    settings: dict[str, Any],
    scales: Tensors | None,
) -> None:
    """Step of ``torch.optim.SGD``, in place on parameters and momentum buffers.

    Args:
        params: Parameters.
        grads: Their gradients, left as they are.
        buffers: Momentum buffers, or None without momentum.
        settings: The parameter group: lr, momentum, dampening, weight_decay (coupled), nesterov, maximize.
        scales: S per entry, or None for torch's own step, operation by operation.
    """
    g: Tensors = torch._foreach_neg(grads) if settings["maximize"] else grads
    if settings["weight_decay"]:
        g = torch._foreach_add(g, params, alpha=settings["weight_decay"])
    if buffers is not None:
        torch._foreach_mul_(buffers, settings["momentum"])
        torch._foreach_add_(buffers, g, alpha=1 - settings["dampening"])
        g = torch._foreach_add(g, buffers, alpha=settings["momentum"]) if settings["nesterov"] else buffers
    if scales is None:
        torch._foreach_add_(params, g, alpha=-settings["lr"])
    else:
        torch._foreach_addcmul_(params, g, scales, -settings["lr"])
