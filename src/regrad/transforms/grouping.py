"""Grouping the entries of many tensors by value, by one of three algorithms with one result.

Acts on: nothing by itself; `regrad.optim.sgg` scales each group's update.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from regrad.transforms.cluster_statistics import ClusterStatistics, entry_statistics, histogram_statistics
from regrad.transforms.histogram_kmeans import histogram_boundaries
from regrad.transforms.kmeans import exact_boundaries
from regrad.transforms.value_histogram import value_histogram


class Grouping(NamedTuple):
    """K-1 boundaries for each of L tensors (see `regrad.transforms.kmeans`), and the clusters' statistics."""

    boundaries: Sequence[Tensor]
    statistics: ClusterStatistics


class GroupFunction(Protocol):
    """What groups: see `group_by_histogram` for the arguments."""

    def __call__(self, tensors: list[Tensor], clusters: int, *, statistic: str, signed: bool) -> Grouping:
        """Return boundaries and statistics."""


def group_by_histogram(tensors: list[Tensor], clusters: int, *, statistic: str, signed: bool) -> Grouping:
    """Group by near-exact k-means on fine histograms, all tensors at once, without a sort.

    Args:
        tensors: L >= 1 float32 tensors of finite features, n >= 1 entries each; not negative unless
            ``signed``.
        clusters: K >= 1.
        statistic: See `regrad.transforms.cluster_statistics`.
        signed: Whether the features have signs.
    """
    histogram = value_histogram(tensors, signed=signed)
    boundaries = histogram_boundaries(histogram, clusters)
    return Grouping(list(boundaries), histogram_statistics(histogram, boundaries, statistic))


def group_exactly(tensors: list[Tensor], clusters: int, *, statistic: str, signed: bool) -> Grouping:
    """Group by exact k-means (sorting): the oracle of `group_by_histogram`, with the same arguments."""
    boundaries = [exact_boundaries(values, clusters) for values in tensors]
    return Grouping(boundaries, entry_statistics(tensors, boundaries, statistic))


def group_by_minibatch(tensors: list[Tensor], clusters: int, *, statistic: str, signed: bool) -> Grouping:
    """Group by scikit-learn's MiniBatchKMeans on the CPU, with the same arguments: the paper's way.

    Departures: fitted afresh at every call with random_state 42, so that it has no state to save; the public
    code keeps one running model per tensor that no checkpoint contains.

    Raises:
        ImportError: Without scikit-learn.
    """
    boundaries = [_minibatch_boundaries(values, clusters) for values in tensors]
    return Grouping(boundaries, entry_statistics(tensors, boundaries, statistic))


def _minibatch_boundaries(values: Tensor, clusters: int) -> Tensor:
    from sklearn.cluster import MiniBatchKMeans  # optional, and slow to import

    model = MiniBatchKMeans(clusters, batch_size=1024, n_init=3, random_state=42)
    model.fit(values.detach().cpu().numpy().reshape(-1, 1))
    centres = torch.from_numpy(model.cluster_centers_).flatten().sort().values
    return ((centres[1:] + centres[:-1]) / 2).to(values.device, values.dtype)


GROUPINGS: dict[str, GroupFunction] = {
    "histogram": group_by_histogram,
    "exact": group_exactly,
    "minibatch": group_by_minibatch,
}
