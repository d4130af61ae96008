import math

import kmeans1d
import pytest
import torch

from regrad.transforms.histogram_kmeans import _bin_centres, _cell_ends, histogram_boundaries
from regrad.transforms.kmeans import assign, exact_boundaries, prefix_sums, segment_cost
from regrad.transforms.value_histogram import count_below, value_histogram


def optimum(values, clusters):
    labels, centres = kmeans1d.cluster(values.double().tolist(), clusters)
    return sum((x - centres[c]) ** 2 for x, c in zip(values.double().tolist(), labels, strict=True))


def within_cost(values, boundaries):
    """The k-means cost in float64: squared distances to the cluster means, summed."""
    points, index = values.double().flatten(), assign(values, boundaries).flatten()
    clusters = (points[index == c] for c in range(len(boundaries) + 1))
    return sum(float((x - x.mean()).square().sum()) for x in clusters if x.numel())


def excess_bound(histogram, optimum):
    """The largest cost [L] that `histogram_boundaries` may have, given the optimum [L]: its module's formula."""
    d = (histogram.counts * (histogram.edges.diff(dim=1) / 2).square()).sum(1).sqrt()
    sums = prefix_sums(histogram.counts, _bin_centres(histogram.edges) - histogram.mean[:, None])
    cells = sums.gather(2, _cell_ends(histogram).expand(3, -1, -1))
    ends = torch.arange(cells.shape[2])
    w = segment_cost(cells, ends[:-1], ends[1:]).sum(1).sqrt()
    return (((optimum.sqrt() + d + w).square() + w.square()).sqrt() + d).square()


def distributions():
    random = torch.Generator().manual_seed(0)

    def normal(n):
        return torch.randn(n, generator=random)

    heavy = normal(20_000) / normal(20_000).square().add(0.05).sqrt()
    return {
        "normal": normal(20_000),
        "momentum of a small model": 1e-7 * normal(20_000),
        "large gradients": 10 * normal(20_000),
        "heavy tails": 1e-3 * heavy,
        "log-normal": torch.exp(2 * normal(20_000)),
        "mostly zero": normal(20_000) * (torch.rand(20_000, generator=random) < 0.01),
        "two entries far out": torch.cat([normal(5000), torch.tensor([1e4, -2e4])]),
        "few": normal(7),
        "three values": torch.randint(0, 3, (1000,), generator=random).float(),
        "signed integers, on bin edges": torch.randint(-3, 4, (500,), generator=random).float(),
        "constant": torch.full((50,), 0.25),
        "zero, of either sign": torch.tensor([0.0, -0.0]),
    }


def test_the_clusters_of_a_small_example_are_those_found_by_hand():
    # {1, 2, 3} costs 2, {10, 11} costs 0.5, {20} nothing: 2.5; any other three intervals cost more
    values = torch.tensor([20.0, 1, 10, 3, 11, 2])
    boundaries = exact_boundaries(values, 3)
    assert boundaries.tolist() == [10.0, 20.0]
    assert assign(values, boundaries).tolist() == [2, 0, 1, 0, 1, 0]
    assert within_cost(values, boundaries) == 2.5


@pytest.mark.parametrize("clusters", [1, 2, 3, 6])
def test_exact_clustering_costs_what_the_oracle_costs(clusters):
    random = torch.Generator().manual_seed(clusters)
    for n in [1, 2, 3, 5, 17, 60]:
        for spread in [0.0, 2.0]:  # with ties, and without
            values = torch.randn(n, generator=random, dtype=torch.float64)
            values = (spread * values).round() if spread else values
            found = within_cost(values, exact_boundaries(values, clusters))
            assert found == pytest.approx(optimum(values, clusters), rel=1e-9, abs=1e-9)


def test_more_clusters_than_values_leave_clusters_empty():
    boundaries = exact_boundaries(torch.tensor([2.0, 1.0]), 4)
    assert boundaries.shape == (3,)
    assert within_cost(torch.tensor([2.0, 1.0]), boundaries) == 0


def test_an_assignment_keeps_the_shape_and_counts_boundaries():
    values = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).t()
    index = assign(values, torch.tensor([1.0, 3.0]))
    assert index.dtype == torch.uint8
    assert index.tolist() == [[0, 1], [1, 2]]


def test_the_cost_of_a_segment_is_weighted():
    # points 0 (twice) and 3 (once): mean 1, cost 2 * 1 + 4 = 6
    sums = prefix_sums(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 3.0]))
    assert float(segment_cost(sums, torch.tensor(0), torch.tensor(2))) == pytest.approx(6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("clusters", [1, 2, 3, 5])
def test_histogram_clustering_is_near_the_optimum_and_within_its_proven_bound(clusters, signed):
    names, tensors = zip(*distributions().items(), strict=True)
    histogram = value_histogram(list(tensors), signed=signed)
    values = [x if signed else x.abs() for x in tensors]
    costs = torch.tensor([optimum(x, clusters) for x in values], dtype=torch.float64)
    bounds = excess_bound(histogram, costs)
    boundaries = histogram_boundaries(histogram, clusters)
    for name, x, best, bound, found in zip(names, values, costs, bounds, boundaries, strict=True):
        cost = within_cost(x, found)
        variance = float((x.double() - x.double().mean()).square().sum())
        assert cost <= float(bound) * (1 + 1e-9), name
        assert cost <= float(best) * 1.005 + 1e-6 * variance + 1e-30, name
        resolution = 5e-5 * float(x.double().square().sum()) + 1e-30
        assert float(bound) <= 2 * float(best) + 0.05 * variance + resolution, name  # a bound worth its name


def test_histogram_clustering_separates_what_lies_apart():
    random = torch.Generator().manual_seed(0)
    groups = [1 + 1e-3 * torch.randn(10, generator=random), 3 + 1e-3 * torch.randn(5000, generator=random)]
    boundaries = histogram_boundaries(value_histogram([torch.cat(groups)], signed=False), 2)
    assert 1.1 < float(boundaries) < 2.9


@pytest.mark.parametrize("signed", [False, True])
def test_every_entry_is_counted_once_in_the_bin_that_holds_it(signed):
    for name, x in distributions().items():
        histogram = value_histogram([x], signed=signed)
        values = x if signed else x.abs()
        assert float(histogram.below[0, -1]) == x.numel()
        edges = histogram.edges[0]
        used = torch.nonzero(histogram.counts[0]).flatten()
        for b in used[:: max(len(used) // 20, 1)]:
            inside = (values >= edges[b]) & (values < edges[b + 1])
            assert int(inside.sum()) == float(histogram.counts[0, b]), name


def test_counts_are_exact_at_edges_and_interpolated_between():
    histogram = value_histogram([torch.tensor([1.0, 1.0, 2.0])], signed=False)
    edges = histogram.edges[0]
    at = torch.searchsorted(edges, torch.tensor(1.0, dtype=torch.float64))
    inside = (edges[at] + edges[at + 1]) / 2
    counted = count_below(histogram, torch.stack([edges[at], inside, edges[-1]])[None])
    assert counted[0].tolist() == [0.0, 1.0, 3.0]


def test_the_bins_are_as_narrow_as_promised():
    edges = value_histogram([torch.tensor([3.7])], signed=False).edges[0]
    relative = edges[2:] / edges[1:-1] - 1
    assert float(relative.max()) <= 2**-8
    assert edges[1] < 3.7 * 2**-19
    assert math.isfinite(float(edges[-1]))
