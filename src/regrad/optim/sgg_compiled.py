"""SGG's ordinary step around torch's Adam and AdamW on a CPU in one pass over memory, by a compiled loop.

Acts on: the update. `regrad.optim.sgg_folded` makes the same step of torch's operations, and is what this is tested
against; torch's own fused kernel has no place for a scale. The compiler is the one that torch's Inductor finds.
"""

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from regrad.optim.sgg_folded import has_hooks

# An entry is read once and written once: parameter, both moments; gradient and scale are only read.
SOURCE = """
#include <cmath>
extern "C" __attribute__((visibility("default"))) void scaled_adam(
    long tensors, const long* sizes, float* const* p, const float* const* g, float* const* m, float* const* v,
    const float* const* s, const float* numbers, int threads) {
  for (long t = 0; t < tensors; ++t) {
    const float *n = numbers + 9 * t, *gt = g[t], *st = s[t];
    const float decay = n[0], coupled = n[1], sign = n[2], one_b1 = n[3], b2 = n[4], one_b2 = n[5], root = n[6],
                eps = n[7], size = n[8];
    float *pt = p[t], *mt = m[t], *vt = v[t];
    #pragma omp parallel for simd num_threads(threads) if(parallel : threads > 1)
    for (long i = 0; i < sizes[t]; ++i) {
      const float grad = sign * gt[i] + coupled * pt[i];
      const float mean = mt[i] + one_b1 * (grad - mt[i]);
      const float square = b2 * vt[i] + one_b2 * grad * grad;
      mt[i] = mean;
      vt[i] = square;
      pt[i] = decay * pt[i] - size * st[i] * (mean / (std::sqrt(square) / root + eps));
    }
  }
}
"""
# Inductor writes vectors out and forbids what this loop lives on; an error number a root would keep it scalar.
FLAGS = ("-march=native", "-fno-math-errno", "-ftree-loop-vectorize")


@functools.cache
def kernel() -> Any:
    """Return the compiled loop.

    Raises:
        ValueError: If there is no compiler, or it fails.
    """
    from torch._inductor.codecache import CppCodeCache

    try:
        function = CppCodeCache.load(SOURCE, extra_flags=FLAGS).scaled_adam
    except Exception as error:  # noqa: BLE001 - Inductor's errors have no class of their own that old and new versions share
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"compiled=True needs a C++ compiler that torch's Inductor finds ({reason}); leave it False"
        ) from None
    function.restype = None
    return function


def takes(base: Optimizer, scales: Mapping[Tensor, Tensor]) -> bool:
    """Say whether `compiled_step` can take the place of ``base.step()``."""
    return (
        is_plain(base)
        and not has_hooks(base)
        and all(_is_straight(t) for p in moving(base) for t in _tensors(base, p, scales))
    )


def compiled_step(base: Optimizer, scales: Mapping[Tensor, Tensor]) -> None:
    """Take the step of ``base``, the updates of the parameters in ``scales`` multiplied by these entries."""
    columns: list[tuple[Tensor, ...]] = []
    numbers: list[float] = []
    for group in base.param_groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            base.state[p]["step"] += 1
            columns.append(_tensors(base, p, scales))
            numbers += _numbers(group, float(base.state[p]["step"]))
    if not columns:
        return
    count = len(columns)
    pointers = [(ctypes.c_void_p * count)(*(t.data_ptr() for t in column)) for column in zip(*columns, strict=True)]
    sizes = (ctypes.c_long * count)(*(row[0].numel() for row in columns))
    constants = (ctypes.c_float * len(numbers))(*numbers)
    kernel()(ctypes.c_long(count), sizes, *pointers, constants, ctypes.c_int(torch.get_num_threads()))
    torch.autograd.graph.increment_version([t for p, _, m, v, _ in columns for t in (p, m, v)])  # as an operation would


def moving(base: Optimizer) -> list[Tensor]:
    return [p for group in base.param_groups for p in group["params"] if p.grad is not None]


def _tensors(base: Optimizer, p: Tensor, scales: Mapping[Tensor, Tensor]) -> tuple[Tensor, ...]:
    state = base.state.get(p, {})
    if p.grad is None or "exp_avg" not in state:
        return (p.new_empty(0, dtype=torch.int8),)  # new to the base optimizer: refused by `takes`
    return p, p.grad, state["exp_avg"], state["exp_avg_sq"], scales[p] if p in scales else _ones(p.numel())


def is_plain(base: Optimizer) -> bool:
    """Say whether a step is Adam's formula as the paper has it."""
    if type(base) not in (Adam, AdamW):
        return False
    return not any(
        group["amsgrad"] or group["differentiable"] or any(isinstance(b, Tensor) for b in group["betas"])
        for group in base.param_groups
    )


def _is_straight(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()


@functools.lru_cache(maxsize=64)
def _ones(size: int) -> Tensor:
    """Return the scale of a parameter that has none: those are biases and gains, hence small."""
    return torch.ones(size)


def fixed(group: dict[str, Any]) -> list[float]:
    """Return decay of the parameter, weight decay in the gradient, its sign, lr, β₁, β₂ and ε of a group."""
    lr, (b1, b2), decay = float(group["lr"]), group["betas"], group["weight_decay"]
    apart = bool(group["decoupled_weight_decay"])
    sign = -1.0 if group["maximize"] else 1.0
    return [1 - lr * decay if apart else 1.0, 0.0 if apart else decay, sign, lr, b1, b2, group["eps"]]


def _numbers(group: dict[str, Any], step: float) -> list[float]:
    decay, coupled, sign, lr, b1, b2, eps = fixed(group)
    return [decay, coupled, sign, 1 - b1, b2, 1 - b2, (1 - b2**step) ** 0.5, eps, lr / (1 - b1**step)]
