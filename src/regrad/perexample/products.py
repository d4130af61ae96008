"""Acts on: per-example gradients. The products that give a weight's gradient, by the faster of torch's libraries.

For float32 on a CPU torch.mm calls the BLAS that torch was built with, on x86 MKL; oneDNN, which torch brings
along for convolutions and compiled models, is about as fast on Intel's processors and twice as fast on AMD's
(200 against 100 GFLOP/s a core, Zen 5). Both compute in float32; they differ by rounding.
"""

import functools

import torch
from torch import Tensor

# Multiplications below which the longer call of oneDNN costs more than its product saves.
_WORTH_A_CALL = 1 << 20


@functools.cache
def onednn_available() -> bool:
    """Whether this build of torch has oneDNN's matrix product."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        found = torch.ops.mkldnn._linear_pointwise(torch.ones(2, 3), torch.ones(4, 3), None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found, torch.full((2, 4), 3.0))


def prefers_onednn(left: Tensor, right: Tensor) -> bool:
    """Whether the product of ``left`` [o, t] and ``right`` [t, i] is one for oneDNN."""
    return bool(
        left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and left.numel() * right.shape[1] >= _WORTH_A_CALL
        and torch.backends.mkldnn.enabled
        and onednn_available()
    )


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right`` [o, i] as a new tensor; ``left`` [o, t], ``right`` [t, i]."""
    if prefers_onednn(left, right):
        return torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return torch.mm(left, right)
