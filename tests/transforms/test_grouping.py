import pytest
import torch

from regrad.transforms.cluster_statistics import STATISTICS, entry_statistics, histogram_statistics
from regrad.transforms.gradient_grouping import (
    materialize,
    paper_scale,
    public_c4_gradient_factor,
    public_c4_group_scale,
    public_c4_scale,
    public_v2_centres,
    public_v2_scale,
    scale_displacement,
)
from regrad.transforms.grouping import GROUPINGS
from regrad.transforms.histogram_kmeans import histogram_boundaries
from regrad.transforms.kmeans import assign
from regrad.transforms.value_histogram import value_histogram

PAPER = {"beta3": 0.99, "bounds": (0.1, 10.0), "eps": 1e-8}


def momentum(scale=1.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    shapes_and_sizes = [((200, 100), 1.0), ((50, 64), 30.0), ((4, 5, 6), 0.01)]
    return [scale * size * torch.randn(shape, generator=random) for shape, size in shapes_and_sizes]


def test_the_statistics_of_a_small_example_are_those_found_by_hand():
    # clusters {0, 1, 2} and {9, 13}: mean 5, median 2
    values, boundaries = torch.tensor([9.0, 0, 1, 2, 13]), torch.tensor([9.0])
    expected = {
        # |x - 5|: {5, 4, 3} and {4, 8} (torch's median is the lower one); all: {3, 4, 4, 5, 8}
        "mda": ([4.0, 4.0], 4.0),
        # |x - 2|: {2, 1, 0} and {7, 11}; all: {0, 1, 2, 7, 11}
        "mad": ([1.0, 7.0], 2.0),
        # x^2: {0, 1, 4} and {81, 169}
        "l2": ([(5 / 3) ** 0.5, 125**0.5], 51**0.5),
        "mean": ([1.0, 11.0], 5.0),
    }
    for name, (deviations, pooled) in expected.items():
        numbers = entry_statistics([values], [boundaries], name)
        torch.testing.assert_close(numbers.deviations[0].tolist(), deviations)
        assert float(numbers.pooled) == pytest.approx(pooled)
        assert numbers.magnitudes[0].tolist() == [1.0, 11.0]
        assert float(numbers.overall) == 5.0


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("scale", [1e-7, 1.0, 100.0])
def test_statistics_from_histograms_are_those_of_the_entries_up_to_the_bins(statistic, signed, scale):
    tensors = momentum(scale)
    histogram = value_histogram(tensors, signed=signed)
    boundaries = histogram_boundaries(histogram, 3)
    fast = histogram_statistics(histogram, boundaries, statistic)
    features = tensors if signed else [x.abs() for x in tensors]
    exact = entry_statistics(features, list(boundaries), statistic)
    for name in ("magnitudes", "overall", "deviations"):
        torch.testing.assert_close(getattr(fast, name), getattr(exact, name), rtol=0.05, atol=0)
    torch.testing.assert_close(fast.pooled, exact.pooled, rtol=0.01, atol=0)
    # the promise: off by at most the widest bin in reach (plus an entry's gap in small tensors)
    widest = torch.stack([x.abs().max() for x in features[:2]]).double() * 2**-8
    assert bool(((fast.deviations - exact.deviations)[:2].abs() <= 1.5 * widest[:, None]).all())


def test_empty_clusters_have_no_statistics():
    values = torch.tensor([1.0, 2.0, 5.0])
    histogram = value_histogram([values], signed=False)
    top = histogram.edges[:, -1:].expand(-1, 2)
    for numbers in (
        histogram_statistics(histogram, top, "mda"),
        entry_statistics([values], [torch.tensor([9.0, 9.0])], "mda"),
    ):
        assert numbers.deviations.isnan().tolist() == [[False, True, True]]
        assert numbers.magnitudes.isnan().tolist() == [[False, True, True]]


def test_the_papers_scale_is_the_one_worked_out_by_hand():
    # D = 2: raw 2 / 4 = 0.5, 2 / 0.01 = 200 -> 10, 2 / 100 = 0.02 -> 0.1; S = 0.99 + 0.01 raw
    deviations = torch.tensor([4.0, 0.01, 100.0, torch.nan])
    scale = paper_scale(torch.ones(4), deviations, torch.tensor(2.0), **PAPER)
    torch.testing.assert_close(scale.tolist(), [0.995, 1.09, 0.991, 1.0])


def test_clamped_extremes_reach_what_twenty_events_allow():
    # 1 - 0.99^20 = 18.2 %: S in [0.836, 2.639]
    scale = torch.ones(2)
    for _ in range(20):
        scale = paper_scale(scale, torch.tensor([1e9, 1e-9]), torch.tensor(1.0), **PAPER)
    torch.testing.assert_close(scale, torch.tensor([0.836, 2.639]), atol=5e-4, rtol=0)


@pytest.mark.parametrize(("decay", "events", "expected"), [(0.999, 20, 0.98019), (0.9, 10, 0.349), (0.9, 20, 0.122)])
def test_the_public_version_2_follows_its_closed_form_for_small_momentum(decay, events, expected):
    centre_decay = 0.999 if decay == 0.999 else 0.95
    scale, centres, magnitude = torch.ones(3), torch.ones(3), torch.tensor([1e-6, 1e-5, 1e-4])
    for _ in range(events):
        centres = public_v2_centres(centres, magnitude, magnitude.mean(), decay=centre_decay)
        scale = public_v2_scale(scale, centres, magnitude.mean(), decay=decay, bounds=(0.1, 10), eps=1e-8)
    torch.testing.assert_close(scale, torch.full((3,), decay**events), atol=2e-3, rtol=0)
    assert float(scale.mean()) == pytest.approx(expected, abs=2e-3)


def test_the_public_version_2_scale_is_the_one_worked_out_by_hand():
    # E = 0.5 * 1 + 0.5 * (2, mean 4 for the empty one) = 1.5, 2.5; S = 0.5 + 0.5 * 4 / E
    centres = public_v2_centres(torch.ones(2), torch.tensor([2.0, torch.nan]), torch.tensor(4.0), decay=0.5)
    assert centres.tolist() == [1.5, 2.5]
    scale = public_v2_scale(torch.ones(2), centres, torch.tensor(4.0), decay=0.5, bounds=(0.1, 1.5), eps=1e-8)
    torch.testing.assert_close(scale.tolist(), [1.5, 1.3])


@pytest.mark.parametrize(("low", "expected"), [(0.5, [0.5, 0.609, 1.161]), (0.1, [0.203, 0.610, 1.164])])
def test_the_public_c4_trainer_gives_large_momentum_large_steps(low, expected):
    random = torch.Generator().manual_seed(0)
    for size in (1e-4, 10.0):
        values = size * torch.randn(100_000, generator=random).abs()
        histogram = value_histogram([values], signed=False)
        index = assign(values, histogram_boundaries(histogram, 3)[0])
        scale = public_c4_scale(values, index, bounds=(low, 10), eps=1e-12)
        torch.testing.assert_close(scale.float(), torch.tensor(expected), rtol=0.06, atol=0)


def test_the_public_c4_trainers_factors_are_those_worked_out_by_hand():
    # |p| = 5, |g| = 1: log(6); ratio clamps at 10 for a zero gradient; distances 1, 1, 3 around the median 1
    param, grad = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0])
    assert float(public_c4_gradient_factor(param, grad)) == pytest.approx(1.791759)
    assert float(public_c4_gradient_factor(param, torch.zeros(2))) == 10
    scale = public_c4_group_scale(torch.tensor([1.0, 1, 3]), torch.tensor(2.0), bounds=(0.1, 10), eps=1e-12)
    # 2 / 1 * (2 log 2 + log 4) / 3
    assert float(scale) == pytest.approx(2 * 4 * 0.693147 / 3, rel=1e-5)


@pytest.mark.parametrize("statistic", ["mda", "l2"])
def test_the_three_groupings_agree_on_well_separated_groups(statistic):
    random = torch.Generator().manual_seed(0)
    centres = torch.tensor([1.0, 5.0, 20.0]).repeat_interleave(2000)
    values = [centres + 0.1 * torch.randn(6000, generator=random), 2 * centres]
    found = {name: group(values, 3, statistic=statistic, signed=False) for name, group in GROUPINGS.items()}
    for grouping in found.values():
        for x, boundaries, oracle in zip(values, grouping.boundaries, found["exact"].boundaries, strict=True):
            assert torch.equal(assign(x, boundaries), assign(x, oracle))
        exact = found["exact"].statistics.deviations
        torch.testing.assert_close(grouping.statistics.deviations, exact, rtol=0.02, atol=0.02)


def test_materialized_scales_follow_shape_strides_and_dtype():
    index, scale = torch.tensor([[0, 1], [2, 1], [0, 0]], dtype=torch.uint8), torch.tensor([0.5, 1.0, 2.0])
    like = torch.empty(2, 3, dtype=torch.float64).t()
    entries = materialize(index, scale, like)
    assert entries.tolist() == [[0.5, 1.0], [2.0, 1.0], [0.5, 0.5]]
    assert entries.dtype == torch.float64
    assert entries.stride() == like.stride()
    assert materialize(index, scale, like.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_scale_of_one_leaves_the_step_bit_for_bit(dtype):
    random = torch.Generator().manual_seed(0)
    start, end = (torch.randn(1000, generator=random).to(dtype) for _ in range(2))
    scale = torch.ones(1000, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    moved = end.clone()
    scale_displacement(start, moved, scale)
    assert torch.equal(moved, end)
    scale_displacement(start, moved, 2 * scale)
    torch.testing.assert_close(moved.double(), (2 * end.double() - start.double()), rtol=1e-2, atol=1e-2)
