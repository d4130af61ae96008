"""MicroAdam: by hand, against a per-example float64 loop, AdamW's bits, and the family's expectations."""

import math

import pytest
import torch

from regrad.optim.micro_adam import MicroAdam
from regrad.transforms.adam_family import resolution

FAMILY = ["adam", "micro", "variance", "mean_square", 0.5, 2.0]


def statistics_of(examples, *kinds):
    """The statistics of per-example gradients {name: [B, *param]}, from their definitions."""
    definitions = {
        "mean": lambda g: g.mean(0),
        "mean_square": lambda g: g.square().mean(0),
        "variance": lambda g: (g - g.mean(0)).square().sum(0) / (len(g) - 1),
    }
    return {kind: {name: definitions[kind](g) for name, g in examples.items()} for kind in kinds}


def named(value):
    return [("w", torch.nn.Parameter(value.clone()))]


def example_batches(steps, shape=(8, 5), dtype=torch.float64, mean=0.3):
    generator = torch.Generator().manual_seed(11)
    return [mean + torch.randn(shape, generator=generator, dtype=dtype) for _ in range(steps)]


def one_step(examples, **options):
    """The parameter and state after one step from 0 at betas (0.5, 0.5), eps 0, lr 1."""
    params = named(torch.zeros_like(examples[0]))
    optimizer = MicroAdam(params, lr=1.0, betas=(0.5, 0.5), eps=0.0, **options)
    stats = statistics_of({"w": examples}, "mean", "variance")
    optimizer.step(statistics=stats, batch_size=len(examples))
    return params[0][1].detach(), optimizer.state[params[0][1]]


@pytest.mark.parametrize(
    ("preconditioner", "nu"),
    # examples 1, 3, 5, 7: mean 4, v = (9+1+1+9)/3 = 20/3, mean square (1+9+25+49)/4 = 21, v/B = 5/3
    [("adam", 16.0), ("micro", 21.0), (1.0, 21.0), ("variance", 20 / 3), ("mean_square", 16 - 5 / 3),
     (0.25, 16.0), (0.5, 16 + 5 / 3), (2.0, 16 + 7 * 5 / 3)],
)  # fmt: skip
def test_the_first_step_by_hand(preconditioner, nu):
    examples = torch.tensor([[1.0], [3.0], [5.0], [7.0]], dtype=torch.float64)
    moved, _ = one_step(examples, preconditioner=preconditioner, floor=0.0)
    assert float(moved) == pytest.approx(-4 / math.sqrt(nu), rel=1e-12)  # debiased: m̂ = 4, ν̂ = nu


def test_a_negative_estimate_is_bounded_and_its_share_is_logged():
    # coordinate 0: -1, 3: mean 1, v = 8, gbar² - v/B = 1 - 4 < 0; coordinate 1: 3, 5: 16 - 1 = 15
    examples = torch.tensor([[-1.0, 3.0], [3.0, 5.0]], dtype=torch.float64)
    moved, state = one_step(examples, preconditioner="mean_square", floor=0.25)
    assert moved.tolist() == pytest.approx([-1 / math.sqrt(0.25), -4 / math.sqrt(15)])
    assert float(state["clipped_share"]) == 0.5
    assert state["exp_avg_excess"].tolist() == pytest.approx([-2.0, -0.5])  # half of -4, -1: not clipped


def test_averaging_comes_before_clipping():
    # steps with gbar² - v/B = -3, then +5: average first, (0.5 * -1.5 + 2.5) / 0.75 = 2.33 > 0
    params = named(torch.zeros(1, dtype=torch.float64))
    optimizer = MicroAdam(
        params, lr=1.0, betas=(0.0, 0.5), eps=0.0, preconditioner="mean_square", floor=0.01
    )
    for mean, variance in ((1.0, 16.0), (3.0, 16.0)):  # B = 4
        before = params[0][1].detach().clone()
        stats = {kind: {"w": torch.tensor([x], dtype=torch.float64)} for kind, x in
                 (("mean", mean), ("variance", variance))}  # fmt: skip
        optimizer.step(statistics=stats, batch_size=4)
    assert float(params[0][1].detach() - before) == pytest.approx(-3 / math.sqrt((0.5 * -1.5 + 2.5) / 0.75))


def loop_path(batches, c, *, lr, betas, eps, weight_decay, floor):
    """The definition, one coordinate and one example at a time, in Python floats."""
    path = [0.0] * batches[0].shape[1]
    m, square, excess = ([0.0] * len(path) for _ in range(3))
    for t, batch in enumerate(batches, 1):
        B = len(batch)
        for i in range(len(path)):
            g = [float(x) for x in batch[:, i]]
            gbar = math.fsum(g) / B
            v = math.fsum((x - gbar) ** 2 for x in g) / (B - 1)
            m[i] = betas[0] * m[i] + (1 - betas[0]) * gbar
            weight = 0.0 if c is None else c - 1 / B
            first, second = (0.0, v) if c == math.inf else (gbar**2, weight * v)
            square[i] = betas[1] * square[i] + (1 - betas[1]) * first
            excess[i] = betas[1] * excess[i] + (1 - betas[1]) * second
            bound = resolution(betas[1], t) if floor is None else floor
            nu = max(square[i] + excess[i], bound * square[i]) / (1 - betas[1] ** t)
            path[i] *= 1 - lr * weight_decay
            path[i] -= lr * m[i] / (1 - betas[0] ** t) / (math.sqrt(nu) + eps)
    return path


@pytest.mark.parametrize("preconditioner", [*FAMILY, 0.0, 0.125, 0.05])
@pytest.mark.parametrize("floor", [None, 0.1])
def test_a_loop_over_examples_gives_the_same_path(preconditioner, floor):
    batches = example_batches(15)
    options = {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1, "floor": floor}
    params = named(torch.zeros(5, dtype=torch.float64))
    optimizer = MicroAdam(params, preconditioner=preconditioner, **options)
    for batch in batches:
        optimizer.step(statistics=statistics_of({"w": batch}, "mean", "variance"), batch_size=len(batch))
    named_c = {"adam": None, "micro": 1.0, "variance": math.inf, "mean_square": 0.0}
    c = named_c.get(preconditioner, preconditioner)
    expected = loop_path(batches, c, **options)
    assert params[0][1].tolist() == pytest.approx(expected, rel=1e-10)


def test_the_mean_of_squares_and_the_variance_give_one_micro_adam():
    paths = []
    for kinds, how in ((("mean", "mean_square"), {}), (("mean", "variance"), {"batch_size": 8})):
        params = named(torch.zeros(5, dtype=torch.float64))
        optimizer = MicroAdam(params, lr=0.1, preconditioner="micro")
        for batch in example_batches(10):
            optimizer.step(statistics=statistics_of({"w": batch}, *kinds), **how)
        paths.append(params[0][1].detach())
    torch.testing.assert_close(*paths, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"maximize": True, "weight_decay": 0.01}, {"betas": (0.0, 0.5), "eps": 1e-3}],
)
def test_adam_has_the_bits_of_torch_adamw(dtype, options):
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(4, 3, generator=generator, dtype=torch.float32).to(dtype)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = (
        MicroAdam([ours], lr=0.01, preconditioner="adam", **options),
        torch.optim.AdamW([theirs], lr=0.01, **{"weight_decay": 0.0, **options}),
    )
    for _ in range(30):
        grad = torch.randn(4, 3, generator=generator).to(dtype)
        for param, optimizer in zip((ours, theirs), optimizers, strict=True):
            param.grad = grad.clone()
            optimizer.step()
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_c_of_one_over_b_has_the_bits_of_adam(dtype):
    paths = []
    for preconditioner in ("adam", 1 / 8):
        params = named(torch.zeros(5, dtype=dtype))
        optimizer = MicroAdam(params, preconditioner=preconditioner)
        for batch in example_batches(10, dtype=dtype):
            optimizer.step(statistics=statistics_of({"w": batch}, "mean", "variance"), batch_size=8)
        paths.append(params[0][1].detach())
    assert torch.equal(*paths)


@pytest.mark.parametrize(
    ("preconditioner", "expected"),
    # μ = 0.5, σ² = 4, B = 8: μ² + c σ²
    [("adam", 0.75), ("micro", 4.25), ("variance", 4.0), ("mean_square", 0.25), (0.5, 2.25), (3.0, 12.25)],
)
def test_the_expected_preconditioner_on_drawn_distributions(preconditioner, expected):
    # With β2 = 0 one state holds one sample of ν, per coordinate: 200,000 independent draws of it.
    draws = 0.5 + 2 * torch.randn(8, 200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params = named(torch.zeros(200_000, dtype=torch.float64))
    optimizer = MicroAdam(params, lr=0.0, betas=(0.0, 0.0), preconditioner=preconditioner)
    optimizer.step(statistics=statistics_of({"w": draws}, "mean", "variance"), batch_size=8)
    state = optimizer.state[params[0][1]]
    nu = state["exp_avg_sq"] + state.get("exp_avg_excess", 0.0)
    assert abs(float(nu.mean()) - expected) < 5 * float(nu.std()) / math.sqrt(200_000)
    if preconditioner == "mean_square":
        assert float((nu < 0).double().mean()) > 0.3


def test_where_noise_dominates_micro_and_variance_are_adam_with_a_rescaled_rate():
    batches = example_batches(40, shape=(16, 200), mean=0.0)
    moved = {}
    for preconditioner, lr in (("adam", 0.01), ("micro", 0.04), ("variance", 0.04)):  # sqrt(16) = 4
        params = named(torch.zeros(200, dtype=torch.float64))
        optimizer = MicroAdam(params, lr=lr, preconditioner=preconditioner, eps=0.0)
        for batch in batches:
            optimizer.step(statistics=statistics_of({"w": batch}, "mean", "variance"), batch_size=16)
        moved[preconditioner] = params[0][1].detach()
    for preconditioner in ("micro", "variance"):
        pair = torch.stack([moved["adam"], moved[preconditioner]])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.95
        assert float(moved[preconditioner].std() / moved["adam"].std()) == pytest.approx(1, abs=0.15)


def test_the_batch_size_may_change_between_steps():
    params = named(torch.zeros(5, dtype=torch.float64))
    optimizer = MicroAdam(params, preconditioner=0.2, floor=0.0)
    batches = [example_batches(1, shape=(n, 5))[0] for n in (8, 3, 5)]  # 1/3 > c = 1/5 > 1/8
    for batch in batches:
        optimizer.step(statistics=statistics_of({"w": batch}, "mean", "variance"), batch_size=len(batch))
    options = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "floor": 0.0}
    assert params[0][1].tolist() == pytest.approx(loop_path(batches, 0.2, **options), rel=1e-10)
