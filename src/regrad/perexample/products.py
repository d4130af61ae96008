"""Acts on: per-example gradients. The products that give a weight's gradient, by the faster of torch's libraries.

For float32 on a CPU torch.mm calls the BLAS that torch was built with, on x86 MKL; oneDNN, which torch brings along for
convolutions and compiled models, is chosen where it is clearly the faster one. GFLOP/s of one core for 256 x 128 x 256
with a transposed left factor, which is what a weight's gradient is: on Zen 4 MKL 97, oneDNN 90 (and a copy of the
factor); on Zen 5 MKL, which has no AVX-512 on these processors, 100, oneDNN 200; on Intel's about the same. Both
compute in float32; they differ by rounding, and the choice depends on processor and shapes alone.
"""

import functools
from pathlib import Path

import torch
from torch import Tensor

# Multiplications below which the longer call of oneDNN costs more than its product saves.
_WORTH_A_CALL = 1 << 20
_ZEN_5 = 26  # AMD's number of the first family with a data path of 512 bits


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


@functools.cache
def onednn_is_faster(description: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor is one on which oneDNN beats MKL, as far as Linux' description of it tells."""
    try:
        lines = description.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    first = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    family = first.get("cpu family", "")
    return first.get("vendor_id") == "AuthenticAMD" and family.isdigit() and int(family) >= _ZEN_5


def prefers_onednn(left: Tensor, right: Tensor) -> bool:
    """Whether the product of ``left`` [o, t] and ``right`` [t, i] is one for oneDNN."""
    # First what decides for most processors: asked for each example's product.
    return bool(
        onednn_is_faster()
        and left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and left.numel() * right.shape[1] >= _WORTH_A_CALL
        and torch.backends.mkldnn.enabled
        and onednn_available()
    )


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``left @ right`` [o, i]; ``left`` [o, t], ``right`` [t, i].

    Args:
        left: First factor.
        right: Second.
        out: What BLAS may write to, of their dtype; oneDNN makes a new tensor in any case.
    """
    if prefers_onednn(left, right):
        return torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return torch.mm(left, right, out=out)
