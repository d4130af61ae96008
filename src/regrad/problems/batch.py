"""What every problem shares: its batch, its splits, and how it lends a model to evaluation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

Examples = Any  # a named tuple of tensors, example axis first: Batch, or what a problem has in its place
Losses = Callable[[nn.Module, Any], torch.Tensor]  # model and batch to the unreduced losses [B]
Dtype = Literal["float32", "float64", "bfloat16"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
}


class Batch(NamedTuple):
    """Inputs and targets of B examples, example axis first."""

    inputs: torch.Tensor  # [B, T] token ids, or [B, C, H, W] images
    targets: torch.Tensor  # [B, T] next-token ids, or [B] class ids


def placed(values: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values of the host as a tensor on a device; the host does not wait for an accelerator to have taken them."""
    host = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    return host if device.type == "cpu" else host.pin_memory().to(device, non_blocking=True)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module has its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def check_position(step: int, batch_size: int) -> None:
    """Refuse a negative step or an empty batch (ValueError: with the name and value)."""
    if step < 0:
        raise ValueError(f"step={step!r} must be >= 0")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be >= 1")
