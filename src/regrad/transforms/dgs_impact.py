"""The collective impact of all parameters, sum over k of γ_k |g_k|, in the scopes that DGS leaves open.

Acts on: the gradient, before the base step.

Source: the denominator of the DGS equation (see :mod:`regrad.transforms.dgs`).
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

Gamma = float | str | Sequence[float | Tensor]
"""γ: one number for all, "1/n" (n = the number of terms of the sum), or one number or tensor per gradient."""

SMALL, JOINED = (
    2**16,
    64,
)  # tensors with fewer entries are joined, so many at a time: calls cost more than copies
BLOCK = 2**20  # larger tensors are summed in pieces of this size, which bounds the memory for |g|


def collective_impacts(gradients: Sequence[Tensor], gamma: Gamma, reading: str) -> list[Tensor]:
    """Return sum_k γ_k |g_k|: one 0-dim tensor for all, or one per gradient for "equation_per_tensor".

    The sum runs over the entries of all gradients, over those of the gradient itself for
    "equation_per_tensor", and over tensors with their Euclidean norms for "equation_tensor_norms".
    With γ = "1/n" it is a mean: of all |entries|, of a tensor's |entries|, or of the tensors' norms.
    It is at least float32.
    """
    gammas = gamma if isinstance(gamma, list | tuple) else [gamma] * len(gradients)
    if reading == "equation_per_tensor":
        return [_weighted_entries([g], [y]) for g, y in zip(gradients, gammas, strict=True)]
    measure = _weighted_norms if reading == "equation_tensor_norms" else _weighted_entries
    return [measure(gradients, gammas)]


def _weighted_entries(gradients: Sequence[Tensor], gammas: Sequence[float | str | Tensor]) -> Tensor:
    count = max(sum(g.numel() for g in gradients), 1)
    alike: dict[float, list[Tensor]] = defaultdict(list)
    terms = []
    for g, y in zip(gradients, gammas, strict=True):
        if isinstance(y, Tensor):
            terms.append((y * g.abs()).sum(dtype=_wide(g)))
        else:
            alike[1 / count if isinstance(y, str) else y].append(g)
    return _total(terms + [y * l1_norm(same) for y, same in alike.items()])


def _weighted_norms(gradients: Sequence[Tensor], gammas: Sequence[float | str | Tensor]) -> Tensor:
    weights = [1 / len(gradients) if isinstance(y, str) else y for y in gammas]
    return _total([y * norm for y, norm in zip(weights, l2_norms(gradients), strict=True)])


def l2_norms(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the Euclidean norm of each tensor, 0-dim, at least float32."""
    return [torch.linalg.vector_norm(g, dtype=_wide(g)) for g in gradients]


def l1_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the sum of |entries| over all tensors, 0-dim, at least float32.

    On a CPU torch's own norm of order 1 is not vectorised and adds in one long chain: on 2**20 normal
    entries in float32 it was twice as slow as this and off by 1e-4.
    """
    if gradients[0].is_cuda:
        return _total([torch.linalg.vector_norm(g, 1, dtype=_wide(g)) for g in gradients])
    small: dict[tuple[torch.dtype, torch.device], list[Tensor]] = defaultdict(list)
    sums = []
    for g in gradients:
        if g.numel() < SMALL:
            small[g.dtype, g.device].append(g)
        else:
            sums += _block_sums(g)
    for alike in small.values():
        for first in range(0, len(alike), JOINED):
            # torch.cat in one call, but a single tensor comes back as itself: hence no abs_()
            sums += _block_sums(_flatten_dense_tensors(alike[first : first + JOINED]))
    return _total(sums)


def _block_sums(gradient: Tensor) -> list[Tensor]:
    wide = _wide(gradient)
    if gradient.numel() <= BLOCK:
        return [gradient.abs().sum(dtype=wide)]
    buffer = gradient.new_empty(BLOCK)
    *parts, last = gradient.reshape(-1).split(BLOCK)
    return [*(torch.abs(part, out=buffer).sum(dtype=wide) for part in parts), last.abs().sum(dtype=wide)]


def _total(terms: Sequence[Tensor]) -> Tensor:
    if len(terms) == 1:
        return terms[0]
    return torch.stack([term.to(terms[0].device) for term in terms]).sum()


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
