"""Gaussian mixtures and DBSCAN on values whose groups are plain to see, and inside SGG."""

import math

import numpy as np
import pytest
import torch

from regrad.optim.sgg import SGG
from regrad.results import Part
from regrad.runner.build import build_optimizer
from regrad.studies.sgg.runtime.compared_groupings import (
    COMPARED,
    density_boundaries,
    mixture_boundaries,
    sgg_compared,
    sorted_sample,
)
from regrad.transforms.grouping import group_exactly

# 40 values around 0, 40 around 10, 40 around 30: groups that every algorithm finds.
APART = torch.cat([torch.linspace(-1, 1, 40) + centre for centre in (0.0, 10.0, 30.0)])


@pytest.mark.parametrize("name", COMPARED)
def test_groups_far_apart_are_those_of_exact_k_means(name):
    values = APART.view(3, 40).t().contiguous()
    found = COMPARED[name]([values], 3, statistic="mda", signed=True)
    exact = group_exactly([values], 3, statistic="mda", signed=True)
    assert 1 < found.boundaries[0][0] < 9 < 11 < found.boundaries[0][1] < 29
    assert torch.equal(found.statistics.deviations, exact.statistics.deviations)


def test_components_of_equal_width_and_weight_meet_half_way():
    """Two of 40 values around 0 and around 10: their densities are equal at 5."""
    assert mixture_boundaries(APART[:80].double().numpy(), 2) == pytest.approx([5.0], abs=0.05)


def test_the_boundary_does_not_depend_on_the_scale():
    """Momentum is as small as 1e-6, where an absolute floor on variances would merge everything."""
    sample = APART.double().numpy()
    for fit in (mixture_boundaries, density_boundaries):
        assert fit(1e-6 * sample, 3) == pytest.approx(1e-6 * fit(sample, 3), rel=1e-3)


def test_density_finds_fewer_groups_than_asked_for_and_the_rest_is_empty():
    """One dense run: no boundary at all. With an outlier: noise is a group, 1 + (50 - 1)/2 = 25.5 divides."""
    dense = np.linspace(-1, 1, 40)
    assert density_boundaries(dense, 3).tolist() == [math.inf, math.inf]
    assert density_boundaries(np.append(dense, 50.0), 3).tolist() == [25.5, math.inf]


def test_the_widest_gaps_are_kept_where_density_finds_more_groups():
    """Gaps 8, 18 between the groups: with two clusters the wider one, at (11 + 29)/2 = 20, is kept."""
    assert density_boundaries(APART.double().numpy(), 2) == pytest.approx([20.0])


def test_the_sample_keeps_the_extremes_and_all_of_a_small_tensor():
    values = torch.arange(10_000.0).flip(0)
    sample = sorted_sample(values)
    assert (len(sample), sample[0], sample[-1]) == (512, 0.0, 9999.0)
    assert sorted_sample(torch.tensor([3.0, 1.0])).tolist() == [1.0, 3.0]


def trained(make, steps=4):
    torch.manual_seed(0)
    model = torch.nn.Linear(12, 8, bias=False)
    optimizer = make(torch.optim.AdamW(model.parameters(), lr=0.1))
    for _ in range(steps):
        model.weight.grad = model.weight.detach().sin()
        optimizer.step()
    return model.weight.detach().clone(), optimizer


@pytest.mark.parametrize("name", COMPARED)
def test_sgg_with_another_grouping_is_sgg_until_the_first_recluster(name):
    plain, _ = trained(lambda base: SGG(base, interval=3), steps=2)
    ours, _ = trained(lambda base: sgg_compared(base, grouping=name, interval=3), steps=2)
    assert torch.equal(plain, ours)
    later, optimizer = trained(lambda base: sgg_compared(base, grouping=name, interval=3, beta3=0.0))
    (state,) = optimizer.state.values()
    assert torch.isfinite(later).all()
    assert len(state["index"].unique()) > 1
    assert state["scale"].ne(1).any()


def test_a_spec_names_it_and_other_groupings_are_refused():
    base = {"name": "adamw", "options": {"lr": 0.1}}
    options = {"base": base, "interval": 7, "grouping": "gmm"}
    model = torch.nn.Linear(3, 4)
    optimizer = build_optimizer(Part(name="sgg_compared", options=options), model)
    assert (optimizer.settings.group, optimizer.settings.interval) == (COMPARED["gmm"], 7)
    for wrong, message in (({"grouping": "exact"}, "grouping"), ({"interval": 0}, "interval")):
        with pytest.raises(ValueError, match=message):
            build_optimizer(Part(name="sgg_compared", options=options | wrong), model)
    with pytest.raises(ValueError, match="grouping"):
        SGG(torch.optim.SGD(model.parameters(), lr=0.1), grouping="gmm")
