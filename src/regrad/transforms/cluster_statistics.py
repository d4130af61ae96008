"""Statistics of the clusters of many tensors: from every entry (the definition) or from histograms (fast).

Acts on: nothing by itself; `gradient_grouping` turns these numbers into learning-rate scales.

For an entry x of tensor l in cluster c, with the median or mean taken over the entries of c:

* ``mda``: median of |x - mean(l)| (the paper's D_{l,c}, eq. 5);
* ``mad``: median of |x - median(l)|;
* ``l2``: root of the mean of x^2;
* ``mean``: mean of |x|; with second moments as features this is the ablation's "Var/Mean".

Source: SGG (arXiv 2506.01049), eq. 5 and table 2.
Departures: table 2 names its statistics without formulas. MAD is read as the same deviation around the
tensor's median; the L2 norm is divided by the root of the cluster's size, or large clusters would be slow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regrad.transforms.kmeans import assign
from regrad.transforms.value_histogram import Histogram, count_below

STATISTICS = ("mda", "mad", "l2", "mean")
_BISECTIONS = 44


class ClusterStatistics(NamedTuple):
    """Numbers of the K clusters of L tensors, float64; nan where a cluster is empty."""

    magnitudes: Tensor  # [L, K] mean of |x|
    overall: Tensor  # [L] mean of |x| of the whole tensor
    deviations: Tensor  # [L, K] the chosen statistic
    pooled: Tensor  # [] the chosen statistic over the entries of all tensors and clusters together


def entry_statistics(tensors: list[Tensor], boundaries: Sequence[Tensor], statistic: str) -> ClusterStatistics:
    """Compute the statistics from all entries.

    Args:
        tensors: L tensors of features, n >= 1 finite entries each.
        boundaries: L boundaries [K-1] (see `regrad.transforms.kmeans`).
        statistic: One of `STATISTICS`.
    """
    rows, pool = [], []
    for values, bounds in zip(tensors, boundaries, strict=True):
        entries, index = values.double().flatten(), assign(values, bounds).flatten()
        terms = _terms(entries, statistic)
        clusters = [index == c for c in range(len(bounds) + 1)]
        magnitudes = torch.stack([entries[c].abs().mean() for c in clusters])
        rows.append((magnitudes, entries.abs().mean(), torch.stack([_reduce(terms[c], statistic) for c in clusters])))
        pool.append(terms)
    device = tensors[0].device
    magnitudes, overall, deviations = (
        torch.stack([x.to(device) for x in column]) for column in zip(*rows, strict=True)
    )
    pooled = _reduce(torch.cat([x.to(device) for x in pool]), statistic)
    return ClusterStatistics(magnitudes, overall, deviations, pooled)


def _terms(entries: Tensor, statistic: str) -> Tensor:
    if statistic == "mda":
        return (entries - entries.mean()).abs()
    if statistic == "mad":
        return (entries - entries.median()).abs()
    return entries.square() if statistic == "l2" else entries.abs()


def _reduce(terms: Tensor, statistic: str) -> Tensor:
    if not len(terms):
        return terms.new_full((), torch.nan)
    if statistic in ("mda", "mad"):
        return terms.median()
    return terms.mean().sqrt() if statistic == "l2" else terms.mean()


def histogram_statistics(histogram: Histogram, boundaries: Tensor, statistic: str) -> ClusterStatistics:
    """Compute the statistics from counts; an entry counts as spread evenly over its bin.

    A median is off by at most the width of the widest bin it can reach, at most 2^-8 of the largest magnitude
    there (or 2^-20 of the tensor's largest magnitude near zero); means by at most half of that.

    Args:
        histogram: L rows.
        boundaries: [L, K-1] on bin edges.
        statistic: One of `STATISTICS`.
    """
    ends = torch.cat([histogram.edges[:, :1], boundaries, histogram.edges[:, -1:]], 1)
    centres = (histogram.edges[:, 1:] + histogram.edges[:, :-1]) / 2
    size = count_below(histogram, ends).diff(dim=1)
    power = 2 if statistic == "l2" else 1
    magnitudes = _sums(histogram, centres.abs(), ends) / size
    overall = (histogram.counts * centres.abs()).sum(1) / histogram.below[:, -1]
    if statistic in ("l2", "mean"):
        totals = _sums(histogram, centres.abs() ** power, ends)
        deviations, pooled = (totals / size) ** (1 / power), (totals.sum() / size.sum()) ** (1 / power)
    else:
        centre = histogram.mean if statistic == "mda" else _row_medians(histogram)
        deviations = _median_distance(histogram, centre, ends)
        pooled = _pooled_median_distance(histogram, centre)
    return ClusterStatistics(magnitudes, overall, torch.where(size > 0, deviations, torch.nan), pooled)


def _sums(histogram: Histogram, values: Tensor, ends: Tensor) -> Tensor:
    """Sum ``values`` [L, B], weighted with the counts, between the ``ends`` [L, K + 1] (bin edges)."""
    running = torch.nn.functional.pad((histogram.counts * values).cumsum(1), (1, 0))
    return running.gather(1, torch.searchsorted(histogram.edges, ends)).diff(dim=1)


def _row_medians(histogram: Histogram) -> Tensor:
    whole = torch.stack((histogram.edges[:, 0], histogram.edges[:, -1]), 1)
    return whole[:, 0] + _median_distance(histogram, whole[:, 0], whole)[:, 0]


def _median_distance(histogram: Histogram, centre: Tensor, ends: Tensor) -> Tensor:
    """Return [L, K]: the median distance from ``centre`` [L] of the entries between neighbouring ``ends``."""
    low, high, c = ends[:, :-1], ends[:, 1:], centre[:, None]
    half = count_below(histogram, ends).diff(dim=1) / 2
    near, far = torch.zeros_like(half), torch.maximum((high - c).abs(), (low - c).abs())
    for _ in range(_BISECTIONS):
        d = (near + far) / 2
        reached = torch.cat([torch.maximum(low, c - d), torch.minimum(high, c + d)], 1)
        below, upto = count_below(histogram, reached).chunk(2, 1)
        enough = upto - below >= half
        near, far = torch.where(enough, near, d), torch.where(enough, d, far)
    return far


def _pooled_median_distance(histogram: Histogram, centre: Tensor) -> Tensor:
    """Return []: the median over all rows' entries of the distance from their own row's centre."""
    c, half = centre[:, None], histogram.counts.sum() / 2
    near, far = (
        half.new_zeros(()),
        torch.maximum(histogram.edges[:, -1:] - c, c - histogram.edges[:, :1]).max(),
    )
    for _ in range(_BISECTIONS):
        d = (near + far) / 2
        below, upto = count_below(histogram, torch.cat([c - d, c + d], 1)).chunk(2, 1)
        enough = (upto - below).sum() >= half
        near, far = torch.where(enough, near, d), torch.where(enough, d, far)
    return far
