"""What a loss scaler does with an optimizer's gradients: find them, unscale them, read numbers about them.

Acts on: the gradient, before the base step.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the optimizer's dense, real, non-empty gradients, in the order of its parameters.

    Raises:
        ValueError: For a sparse or a complex gradient.
    """
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for grad in grads:
        if grad.layout != torch.strided:
            raise ValueError(f"gradients must be dense, got layout {grad.layout}; use sparse=False")
        if grad.is_complex():
            raise ValueError(f"gradients must be real, got {grad.dtype}; use view_as_real parameters")
    return [grad for grad in grads if grad.numel() > 0]


@torch.no_grad()
def unscale_(grads: Sequence[Tensor], scale: float) -> Tensor:
    """Divide gradients in place by ``scale``; return 1.0 if an entry was not finite, else 0.0, as ``[]``.

    The answer stays on the first gradient's device: nothing is read by the host.

    Raises:
        ValueError: For a float16 gradient, which unscaling would flush to zero.
    """
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for grad in grads:
        if grad.dtype == torch.float16:
            raise ValueError("gradients must not be float16: keep parameters in float32 and use autocast")
        groups[grad.device, grad.dtype].append(grad)
    first = grads[0].device
    found_inf = torch.zeros((), device=first, dtype=torch.float32)
    for (device, _), group in groups.items():
        found_inf_here = torch.zeros((), device=device, dtype=torch.float32)
        inverse = torch.full((), 1.0 / scale, device=device, dtype=torch.float32)
        torch._amp_foreach_non_finite_check_and_unscale_(group, found_inf_here, inverse)
        found_inf = torch.maximum(found_inf, found_inf_here.to(first, non_blocking=True))
    return found_inf


def read_numbers(values: Sequence[Tensor | float]) -> list[float]:
    """Bring one-element tensors and numbers to the host together: one synchronization with the device.

    All tensors are on one device, but for some that may be on the CPU (a learning rate, say): those are
    read where they are, at no cost to the device.
    """
    tensors = [v.detach().reshape(()) for v in values if isinstance(v, Tensor)]
    device = next((v.device for v in tensors if v.device.type != "cpu"), torch.device("cpu"))
    together = [v.to(device, non_blocking=True) for v in tensors if v.device.type == device.type]
    read = iter(torch.stack(together).tolist() if together else [])
    here = [isinstance(v, Tensor) and v.device.type == device.type for v in values]
    return [next(read) if joint else float(v) for v, joint in zip(values, here, strict=True)]
