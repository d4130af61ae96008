"""The public implementations' behaviour, re-implemented from its description; no line of theirs is here."""

import pytest
import torch
from sgg_cases import assert_same, feed, parameters, train
from torch.optim import SGD, Adam, AdamW

from regrad.optim.sgg import SGG

CLASS_DEFAULTS = {"variant": "public_v2", "beta3": 0.999, "centre_decay": 0.999}
TRAINER = {"variant": "public_v2", "beta3": 0.9, "centre_decay": 0.95}


def gaussian_steps(optimizer, params, steps, size):
    """Plain Gaussian gradients of one size."""
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = size * torch.randn(p.shape, generator=random)
        optimizer.step()


def scales_of(optimizer):
    return torch.stack([state["scale"] for state in optimizer.state.values()])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (CLASS_DEFAULTS, {20: 0.98019}),
        (TRAINER, {1: 0.9, 10: 0.349, 20: 0.122, 22: 0.1}),  # at last the floor
    ],
)
def test_public_v2_is_a_hidden_schedule_for_small_gradients(settings, expected):
    params, events = parameters(), 0
    optimizer = SGG(Adam(params), interval=1, **settings)
    for until, mean in expected.items():
        gaussian_steps(optimizer, params, range(events, until), 1e-4)
        events = until
        scales = scales_of(optimizer)
        closed_form = max(settings["beta3"] ** events, 0.1)
        torch.testing.assert_close(scales, torch.full_like(scales, closed_form), atol=1e-3, rtol=0)
        assert float(scales.mean()) == pytest.approx(mean, abs=1.5e-3)


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_public_v2_steps_are_those_of_a_decayed_learning_rate_while_it_is_hidden(name):
    make = {"Adam": lambda p, lr: Adam(p, lr=lr), "SGD": lambda p, lr: SGD(p, lr=lr)}[name]
    hidden, plain = parameters(), parameters()
    optimizer = SGG(make(hidden, 0.01), interval=2, **TRAINER)
    base = make(plain, 0.01)
    for step in range(10):
        for p in (*hidden, *plain):
            p.grad = torch.full_like(p, 1e-7 * (1 + step))
        for group in base.param_groups:
            group["lr"] = 0.01 * 0.9 ** ((step + 1) // 2)  # the new scale acts at the recluster step itself
        optimizer.step()
        base.step()
    for a, b in zip(hidden, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_public_v2_separates_clusters_when_gradients_are_large():
    # fingerprint: trainer settings, gradients of size 10, 20 events: about 0.92, 1.48, 2.42
    params = [torch.nn.Parameter(torch.zeros(200, 100))]
    optimizer = SGG(Adam(params), interval=1, **TRAINER)
    gaussian_steps(optimizer, params, range(20), 10.0)
    scales = scales_of(optimizer)[0]
    assert scales.diff().lt(0).all()  # small momentum gets the large scale
    torch.testing.assert_close(scales.sort().values, torch.tensor([0.92, 1.48, 2.42]), rtol=0.25, atol=0)


def test_public_v2_follows_its_recursion_on_measured_means():
    params = [torch.nn.Parameter(torch.zeros(30, 20))]
    optimizer = SGG(SGD(params, lr=0.1, momentum=0.9), interval=1, grouping="exact", **TRAINER)
    centres, scale = torch.ones(3), torch.ones(3)
    for step in range(6):
        feed(params, step, 10.0)
        optimizer.step()
        magnitude = optimizer.base.state[params[0]]["momentum_buffer"].abs()
        index = optimizer.state[params[0]]["index"]
        means = torch.stack([magnitude[index == c].mean() for c in range(3)])
        centres = 0.95 * centres + 0.05 * means
        scale = (0.9 * scale + 0.1 * magnitude.mean() / centres).clamp(0.1, 10)
        torch.testing.assert_close(scales_of(optimizer)[0], scale, rtol=1e-5, atol=0)


def test_public_v2_takes_zero_gradients_for_a_reason_to_slow_down():
    params = parameters()
    optimizer = SGG(Adam(params), interval=1, **CLASS_DEFAULTS)
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(scales_of(optimizer), torch.full((4, 3), 0.999))


def test_public_v2_scales_vectors_too_and_skips_where_the_public_code_stops():
    params = [*parameters(), torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(8, 2))]
    optimizer = SGG(Adam(params), interval=1, **TRAINER)
    feed(params, 0)
    params[-1].grad[0, 0] = float("nan")
    optimizer.step()
    assert "scale" in optimizer.state[params[2]]  # one dimension
    assert params[-2] not in optimizer.state  # fewer entries than clusters
    assert params[-1] not in optimizer.state  # nan


@pytest.mark.parametrize(("low", "expected"), [(0.5, [0.5, 0.609, 1.161]), (0.1, [0.203, 0.610, 1.164])])
@pytest.mark.parametrize("size", [1e-4, 10.0])
def test_public_c4_gives_larger_momentum_larger_steps(low, expected, size):
    params = [torch.nn.Parameter(torch.randn(200, 200, generator=torch.Generator().manual_seed(0)))]
    optimizer = SGG(AdamW(params), interval=3, variant="public_c4", bounds=(low, 10), eps=1e-12)
    gaussian_steps(optimizer, params, range(3), size)
    torch.testing.assert_close(scales_of(optimizer)[0], torch.tensor(expected), rtol=0.06, atol=0)


def test_public_c4_multiplies_gradients_by_norm_ratios_only_for_the_step():
    # |p| = 5, |g| = 1: the momentum buffer holds log(6) g, the gradient itself is g again afterwards
    p = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    p.grad = torch.tensor([[0.6, 0.8]])
    grad = p.grad
    optimizer = SGG(SGD([p], lr=0.1, momentum=0.9), interval=10, variant="public_c4")
    optimizer.step()
    assert p.grad is grad
    assert grad.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    expected = 1.791759 * torch.tensor([[0.6, 0.8]])
    torch.testing.assert_close(optimizer.base.state[p]["momentum_buffer"], expected)


def test_public_c4_scales_every_parameter_of_a_group_from_the_first_step_on():
    # distances to the mean 0: {1, 1, 1, 3}, times the gradient's factor f: median f; the reference is the same at
    # the first step, so raw = (3 log 2 + log 4) / 4 = 0.866434; S = 0.5 + 0.5 raw = 0.933217, vector included
    p, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(1))
    p.grad, bias.grad = torch.tensor([[1.0, 1], [1, -3]]), torch.ones(1)
    optimizer = SGG(SGD([p, bias], lr=0.1), interval=10, variant="public_c4", beta3=0.5, eps=1e-12)
    optimizer.step()
    assert optimizer.progress["group_scales"] == [pytest.approx(0.933217, rel=1e-5)]
    moved = 0.1 * 0.6931472 * 0.933217  # |p| = |g| for the vector: log(2)
    assert bias.item() == pytest.approx(1 - moved, rel=1e-6)
    reference = optimizer.progress["reference"]
    p.grad = 100 * p.grad
    optimizer.step()
    assert optimizer.progress["reference"] == reference
    assert optimizer.mean_scale() == pytest.approx(optimizer.progress["group_scales"][0])


def test_one_cluster_switches_the_variants_off_as_well():
    for settings in (TRAINER, {"variant": "public_c4"}):
        plain, wrapped = parameters(), parameters()
        expected = train(AdamW(plain), plain, 4)
        assert_same(train(SGG(AdamW(wrapped), clusters=1, interval=2, **settings), wrapped, 4), expected)
