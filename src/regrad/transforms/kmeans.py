"""Exact one-dimensional k-means: sorting, prefix sums, dynamic programming.

Acts on: nothing by itself; `gradient_grouping` uses it to group the entries of one tensor.

In one dimension the best clusters are intervals, so a clustering is its K-1 **boundaries**: cluster c
holds the values with exactly c boundaries at or below them. A cluster may be empty (a boundary that
repeats, or one above every value), for instance when there are fewer distinct values than clusters.
"""

import torch
from torch import Tensor


def assign(values: Tensor, boundaries: Tensor) -> Tensor:
    """Return each value's cluster, uint8, in the shape of ``values``: the number of boundaries <= it.

    Args:
        values: Any shape, any float type, no nan.
        boundaries: [K-1] ascending, K <= 256.
    """
    index = torch.zeros(values.shape, dtype=torch.uint8, device=values.device)
    for boundary in boundaries.tolist():
        index += (values >= boundary).view(torch.uint8)
    return index


def exact_boundaries(values: Tensor, clusters: int) -> Tensor:
    """Return the [clusters - 1] boundaries of an optimal 1-D k-means clustering, in the dtype of ``values``.

    Time O(K n log n), memory O(n), on the device of ``values``; n may be less than ``clusters``.

    Args:
        values: Any shape with n >= 1 finite entries.
        clusters: K >= 1.

    Source: Grønlund et al., "Fast exact k-means, k-medians and Bregman divergence clustering in 1D"
    (2017), section 2.2: the best last cut moves only upward, so divide and conquer over the ends.
    """
    points = values.flatten().sort().values
    sums = prefix_sums(torch.ones_like(points, dtype=torch.float64), points.double() - points.double().mean())
    ends = torch.arange(len(points) + 1, device=points.device)
    cost, cuts = segment_cost(sums, torch.zeros_like(ends), ends), []
    for _ in range(clusters - 1):
        cost, cut = _best_last_cut(sums, cost)
        cuts.append(cut)
    # a cut after the last point leaves the last clusters empty: their boundary lies above every value
    ladder, end, boundaries = torch.nn.functional.pad(points, (0, 1), value=torch.inf), len(points), []
    for cut in reversed(cuts):
        end = int(cut[end])
        boundaries.append(ladder[end])
    return torch.stack(boundaries[::-1]) if boundaries else points.new_empty(0)


def prefix_sums(weights: Tensor, points: Tensor) -> Tensor:
    """Return [3, ..., n + 1]: running sums of weight, weight·point, weight·point², starting at zero."""
    moments = torch.stack([weights, weights * points, weights * points * points])
    return torch.nn.functional.pad(moments.cumsum(-1), (1, 0))


def segment_cost(sums: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the cost of one cluster of the points ``start`` to ``end - 1``; an empty one costs nothing."""
    w, s, q = sums[..., end] - sums[..., start]
    return (q - s * s / w.clamp_min(torch.finfo(w.dtype).tiny)).clamp_min_(0)


def _best_last_cut(sums: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
    """For each end j: the least cost[i] + segment(i, j) over i <= j, and the i where it is reached."""
    n = len(cost)
    best, cut = torch.empty_like(cost), torch.zeros(n, dtype=torch.long, device=cost.device)
    done = torch.tensor([-1, n], device=cost.device)  # ends solved so far, with a sentinel on either side
    limits = torch.tensor([0, n - 1], device=cost.device)  # their best cuts: bounds for the ends between
    while len(done) < n + 2:
        middle = (done[:-1] + done[1:]) // 2
        open_ = middle > done[:-1]
        middle, low, high = middle[open_], limits[:-1][open_], limits[1:][open_]
        best[middle], cut[middle] = _scan(sums, cost, (middle, low, torch.minimum(high, middle)))
        done, order = torch.cat([done, middle]).sort()
        limits = torch.cat([limits, cut[middle]])[order]
    return best, cut


def _scan(sums: Tensor, cost: Tensor, task: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Try the cuts low..high for every end; all ends at once, as one ragged list of candidates."""
    end, low, high = task
    sizes = high - low + 1
    owner = torch.repeat_interleave(torch.arange(len(end), device=end.device), sizes)
    first = sizes.cumsum(0) - sizes
    start = torch.arange(len(owner), device=end.device) - first[owner] + low[owner]
    total = cost[start] + segment_cost(sums, start, end[owner])
    best = total.new_full(end.shape, torch.inf).scatter_reduce_(0, owner, total, "amin")
    winners = torch.where(total == best[owner], start, len(cost))
    return best, torch.full_like(end, len(cost)).scatter_reduce_(0, owner, winners, "amin")
