"""The collective impact of all parameters, sum over k of γ_k |g_k|, in the scopes that DGS leaves open.

Acts on: the gradient, before the base step.

Source: the denominator of the DGS equation (see :mod:`regrad.transforms.dgs`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

Gamma = float | str | Sequence[float | Tensor]
"""γ: one number for all, "1/n" (n = the number of terms of the sum), or one number or tensor per gradient."""

PLAIN = (Tensor, torch.nn.Parameter)  # subclasses, such as tensors sharded over processes, know whole-tensor operations

SMALL = 2**16  # tensors with fewer entries are joined first: a call each would cost more than the copy
BLOCK = 2**17  # larger ones are taken in pieces whose |g| stays in a core's second-level cache


class Scratch:
    """Memory for |g| that is reused: fresh memory for each step may cost more than the step itself."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def take(self, like: Tensor, count: int) -> Tensor:
        """Return ``count <= BLOCK`` uninitialised entries of the dtype and device of ``like``."""
        kind = like.dtype, like.device
        if kind not in self._buffers:
            self._buffers[kind] = torch.empty(BLOCK, dtype=like.dtype, device=like.device)
        return self._buffers[kind][:count]


def collective_impacts(
    gradients: Sequence[Tensor], gamma: Gamma, reading: str, *, scratch: Scratch | None = None
) -> list[Tensor]:
    """Return sum_k γ_k |g_k|: one 0-dim tensor for all, or one per gradient for "equation_per_tensor".

    The sum runs over the entries of all gradients, over those of the gradient itself for
    "equation_per_tensor", and over tensors with their Euclidean norms for "equation_tensor_norms".
    With γ = "1/n" it is a mean: of all |entries|, of a tensor's |entries|, or of the tensors' norms.
    It is at least float32.
    """
    gammas: Sequence[Any] = gamma if isinstance(gamma, list | tuple) else [gamma] * len(gradients)
    scratch = scratch or Scratch()
    if reading == "equation_per_tensor":
        return [_weighted_entries([g], [y], scratch) for g, y in zip(gradients, gammas, strict=True)]
    if reading == "equation_tensor_norms":
        return [_weighted_norms(gradients, gammas)]
    return [_weighted_entries(gradients, gammas, scratch)]


def _weighted_entries(gradients: Sequence[Tensor], gammas: Sequence[float | str | Tensor], scratch: Scratch) -> Tensor:
    first = gammas[0]
    if not isinstance(first, Tensor) and all(y is first for y in gammas):
        return _scalar(first, gradients) * l1_norm(gradients, scratch)
    terms = []
    for g, y in zip(gradients, gammas, strict=True):
        if isinstance(y, Tensor):
            terms.append((y * g.abs()).sum(dtype=_wide(g)))
        else:
            terms.append(_scalar(y, gradients) * l1_norm([g], scratch))
    return _total(terms)


def _scalar(gamma: float | str, gradients: Sequence[Tensor]) -> float:
    return 1 / max(sum(g.numel() for g in gradients), 1) if isinstance(gamma, str) else gamma


def _weighted_norms(gradients: Sequence[Tensor], gammas: Sequence[float | str | Tensor]) -> Tensor:
    weights = [1 / len(gradients) if isinstance(y, str) else y for y in gammas]
    return _total([y * norm for y, norm in zip(weights, l2_norms(gradients), strict=True)])


def l2_norms(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the Euclidean norm of each tensor, 0-dim, at least float32."""
    return [torch.linalg.vector_norm(g, dtype=_wide(g)) for g in gradients]


@torch.no_grad()
def l1_norm(gradients: Sequence[Tensor], scratch: Scratch | None = None) -> Tensor:
    """Return the sum of |entries| over all tensors, 0-dim, at least float32.

    On a CPU torch's own norm of order 1 is not vectorised and adds in one long chain: on 2**20 normal
    entries in float32 it was three times slower than this and off by 1e-4.
    """
    if any(not g.is_cpu or type(g) not in PLAIN for g in gradients):
        return _total([torch.linalg.vector_norm(g, 1, dtype=_wide(g)) for g in gradients])
    scratch = scratch or Scratch()
    return _total([_absolute_sum(flats, scratch) for flats in _pieces(gradients)])


def _pieces(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Lists of tensors of one dtype with at most BLOCK entries in all: pieces of large, runs of small ones."""
    joined: list[Tensor] = []
    room = BLOCK
    for g in gradients:
        count = g.numel()
        if count >= SMALL:
            yield from ([piece] for piece in g.reshape(-1).split(BLOCK))
            continue
        if joined and (count > room or g.dtype is not joined[0].dtype):
            yield joined
            joined, room = [], BLOCK
        joined.append(g)
        room -= count
    if joined:
        yield joined


def _absolute_sum(tensors: list[Tensor], scratch: Scratch) -> Tensor:
    wide = _wide(tensors[0])
    if len(tensors) == 1:
        one = tensors[0].reshape(-1)
        return torch.abs(one, out=scratch.take(one, one.numel())).sum(dtype=wide)
    return _flatten_dense_tensors(tensors).abs_().sum(dtype=wide)  # of two or more it is a copy


def _total(terms: Sequence[Tensor]) -> Tensor:
    if len(terms) == 1:
        return terms[0]
    return torch.stack([term.to(terms[0].device) for term in terms]).sum()


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
