"""SGG's ordinary step around torch's Adam and AdamW on a GPU: one kernel over all tensors, in one pass over memory.

Acts on: the update. `regrad.optim.sgg_folded` makes the same step of torch's operations, and is what this is tested
against. A program owns a piece of one tensor; where that lies it reads from a table of addresses, so that a model of
hundreds of tensors is one launch. The scale is looked up by the cluster's number: one byte an entry beside the 28 of
torch's fused AdamW. The host waits for nothing.
"""

import functools
import importlib.util
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrad.optim.sgg_compiled import fixed, is_plain, moving
from regrad.optim.sgg_folded import EntryScale, has_hooks

DEVICES = ("cuda",)  # a test adds the CPU, where Triton interprets
PIECE = 512  # entries of a program: four a thread, loaded at once; with more, registers are short
ALIGNED = 16  # bytes of one load; what torch allocates is aligned, a view into a buffer of gradients may not be


def check() -> None:
    """Raise ValueError where Triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        raise ValueError("compiled=True on a GPU needs triton, which torch's CUDA build brings along; leave it False")


def takes(base: Optimizer, scales: Mapping[Tensor, EntryScale]) -> bool:
    """Say whether `kernel_step` can take the place of ``base.step()``."""
    params = moving(base)
    if not params or any(p.device.type not in DEVICES for p in params) or not is_plain(base) or has_hooks(base):
        return False
    return len({p.device for p in params}) == 1 and all(_is_ready(base, p, scales.get(p)) for p in params)


def kernel_step(base: Optimizer, scales: Mapping[Tensor, EntryScale]) -> None:
    """Take the step of ``base``, the updates of the parameters in ``scales`` multiplied by ``table[places]``."""
    from regrad.optim.sgg_kernel import scaled_adam

    params, device = moving(base), moving(base)[0].device
    state = [base.state[p] for p in params]
    rows = [
        (p, p.grad, own["exp_avg"], own["exp_avg_sq"], *_scale(scales.get(p)))
        for p, own in zip(params, state, strict=True)
    ]
    addresses = [[0 if t is None else t.data_ptr() for t in row] for row in rows]
    sizes = tuple(p.numel() for p in params)
    owner, start, ends = pieces(sizes, device)
    table, numbers = sent(addresses, torch.int64, device), constants(base, [own["step"] for own in state], device)
    scaled_adam[(len(owner),)](owner, start, ends, table, numbers, PIECE=PIECE)
    # As an operation would: autograd must notice.
    torch.autograd.graph.increment_version([t for p, _, m, v, *_ in rows for t in (p, m, v)])


def constants(base: Optimizer, steps: list[Tensor], device: torch.device) -> Tensor:
    """Count a step and return what the formula takes of each tensor: [tensors, 9] float32.

    decay, weight decay of the gradient, its sign, 1 − β₁, β₂, 1 − β₂, √(1 − β₂ᵗ), ε, lr / (1 − β₁ᵗ).
    """
    torch._foreach_add_(steps, 1)
    rows = [fixed(group) for group in base.param_groups for p in group["params"] if p.grad is not None]
    decay, coupled, sign, lr, b1, b2, eps = sent(rows, torch.float64, device).unbind(1)
    # In float64: 1 − β₂ᵗ is a thousandth at first. On the device, where a fused optimizer keeps its count.
    t = torch.stack(steps).to(device, torch.float64, non_blocking=True)
    root, size = (1 - b2**t).sqrt(), lr / (1 - b1**t)
    return torch.stack((decay, coupled, sign, 1 - b1, b2, 1 - b2, root, eps, size), 1).float()


@functools.lru_cache(maxsize=8)
def pieces(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each program its tensor and its first entry, and the tensors' sizes."""
    ends = torch.tensor(sizes)
    counts = (ends + PIECE - 1) // PIECE
    owner = torch.repeat_interleave(counts)
    within = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    return owner.to(device, torch.int32), (within * PIECE).to(device), ends.to(device)


def sent(values: list[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Copy numbers to a device without waiting for it."""
    made = torch.tensor(values, dtype=dtype)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made


def _scale(scale: EntryScale | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if scale is None else (scale.places, scale.table)


def _is_ready(base: Optimizer, p: Tensor, scale: EntryScale | None) -> bool:
    state = base.state.get(p, {})
    if "exp_avg" not in state or any(isinstance(group["lr"], Tensor) for group in base.param_groups):
        return False
    own = [p, p.grad, state["exp_avg"], state["exp_avg_sq"]]
    where = [] if scale is None else [scale.places, scale.table]
    straight = all(t.is_contiguous() and t.device == p.device and t.data_ptr() % ALIGNED == 0 for t in (*own, *where))
    return straight and all(t.dtype == torch.float32 for t in own)
