"""Fine histograms of tensors with bins of constant *relative* width, read off the float32 bit pattern.

Acts on: nothing by itself; `histogram_kmeans` and `gradient_grouping` work on these counts instead of the
entries.

A momentum tensor spans many orders of magnitude, so equal bins would put its median into the first one.
The bit pattern of a positive float32, read as an integer, grows with the value: cutting its last bits off
gives bins of relative width 2^-8, at one shift and one subtraction per entry.
"""

from typing import NamedTuple

import torch
from torch import Tensor

PRECISION = 8  # mantissa bits kept: a bin is at most 2**-PRECISION of its lower edge wide
OCTAVES = 20  # magnitudes below 2**-OCTAVES of the largest share the bin at zero
_SHIFT = 23 - PRECISION
_BINS = OCTAVES << PRECISION
_INFINITE = 0x7F800000 >> _SHIFT


class Histogram(NamedTuple):
    """Histograms of L tensors, one row each, all float64."""

    counts: Tensor  # [L, B] entries per bin
    below: Tensor  # [L, B + 1] running sum of ``counts``, starting at zero
    edges: Tensor  # [L, B + 1] ascending bin edges; a bin holds its lower edge
    mean: Tensor  # [L] the means of the tensors' entries (not of their bins), summed in float32


def value_histogram(tensors: list[Tensor], *, signed: bool) -> Histogram:
    """Count the entries of every tensor, on its own device; the rows end up on the first tensor's.

    Args:
        tensors: L >= 1 tensors with n >= 1 finite float32 entries each; only magnitudes count unless
            ``signed``.
        signed: Keep the two signs apart (twice as many bins).
    """
    device = tensors[0].device
    rows = [_count(values.flatten(), signed) for values in tensors]
    counts = torch.stack([count.to(device) for count, _ in rows]).double()
    means = [(values if signed else values.abs()).mean().double().to(device) for values in tensors]
    edges = _edges(torch.stack([first.to(device) for _, first in rows]), signed)
    return Histogram(counts, torch.nn.functional.pad(counts.cumsum(1), (1, 0)), edges, torch.stack(means))


def count_below(histogram: Histogram, values: Tensor) -> Tensor:
    """Return how many entries of each row lie below ``values`` [L, V], interpolated linearly inside a bin."""
    last = histogram.counts.shape[1] - 1
    bins = (torch.searchsorted(histogram.edges, values, right=True) - 1).clamp_(0, last)
    low, high = histogram.edges.gather(1, bins), histogram.edges.gather(1, bins + 1)
    inside = ((values - low) / (high - low)).clamp_(0, 1)
    return histogram.below.gather(1, bins) + inside * histogram.counts.gather(1, bins)


def _count(values: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    """Return the [B] counts and, 0-dim, the key of the bin after the one at zero, less one."""
    bits = values.view(torch.int32)
    keys = (bits & 0x7FFFFFFF) >> _SHIFT
    first = (keys.max() - (_BINS - 1)).clamp_(min=0)
    keys.sub_(first).clamp_(min=0)
    if signed:  # a negative value's key k becomes -1 - k: the bins mirrored at zero (-0.0 is not negative)
        keys.bitwise_xor_((values < 0).int().neg_()).add_(_BINS)
    return torch.bincount(keys, minlength=_BINS << signed), first


def _edges(first: Tensor, signed: bool) -> Tensor:
    """Turn keys back into the float values that start their bins."""
    keys = first[:, None] + torch.arange(_BINS + 1, device=first.device)
    largest = torch.tensor(torch.finfo(torch.float32).max).view(torch.int32).item()
    edges = (keys << _SHIFT).clamp_(max=largest).int().view(torch.float32)
    edges[:, 0] = 0
    if signed:  # a mirrored bin would hold its upper edge: move that one float up
        mirrored = torch.nextafter(-edges[:, 1:].flip(1), edges.new_zeros(()))
        edges = torch.cat([mirrored, edges], 1)
    return edges.double()
