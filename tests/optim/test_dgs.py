"""The optimizer DGS: by hand, against its definition, neutral settings, momentum, groups, refusals."""

import copy

import pytest
import torch

from regrad.optim.dgs import DGS
from regrad.transforms.dgs import READINGS, STEP_READINGS, dgs_updates

SHAPES = ((3, 4), (5,), (), (2, 0), (2, 3, 2, 2))


def parameters(dtype=torch.float64, shapes=SHAPES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    params = [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=dtype)
    return params


def moved(params, make, steps=1):
    own = [torch.nn.Parameter(p.detach().clone()) for p in params]
    optimizer = make(own)
    for k in range(steps):
        for p, source in zip(own, params, strict=True):
            p.grad = source.grad * (-0.7) ** k
        optimizer.step()
    return [p.detach() for p in own]


def same_bits(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# g = (3, -1) and (4), one tensor each, θ = 0, lr = 0.1, beta = 2, eps = 1, gamma = 0.5.
#   E1  D = 1 + 0.5 (3 + 1 + 4) = 5:             Δ = 0.2 g / 5             = (0.12, -0.04), (0.16)
#   E1L D = 1 + 0.5 * 4 = 3 and 1 + 0.5 * 4 = 3: Δ = 0.2 g / 3             = (0.2, -0.2/3), (0.8/3)
#   E1T D = 1 + 0.5 (sqrt(10) + 4) = 4.58114:    Δ = 0.2 g / D             = (0.130971, -0.043657), (0.174629)
#   E4  D = 5:                                   Δ = 0.2 |g| g / 5         = (0.36, -0.04), (0.64)
# With beta = 1 and gamma unused:
#   S1                                           Δ = 0.1 g / (|g| + 1)     = (0.075, -0.05), (0.08)
#   S1T ‖(3, -1)‖ + 1 = 4.162278, 4 + 1 = 5:     Δ = 0.1 g / that          = (0.072076, -0.024025), (0.08)
BY_HAND = {
    "equation": [[0.12, -0.04], [0.16]],
    "equation_per_tensor": [[0.2, -0.2 / 3], [0.8 / 3]],
    "equation_tensor_norms": [[0.130971, -0.043657], [0.174629]],
    "equation_as_rate": [[0.12, -0.04], [0.16]],
    "equation_magnitude_rate": [[0.36, -0.04], [0.64]],
    "steps": [[0.075, -0.05], [0.08]],
    "steps_per_tensor": [[0.072076, -0.024025], [0.08]],
}


@pytest.mark.parametrize("reading", READINGS)
def test_each_reading_moves_two_tensors_as_computed_by_hand(reading):
    params = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    params[0].grad, params[1].grad = torch.tensor([3.0, -1.0]), torch.tensor([4.0])
    own = {} if reading in STEP_READINGS else {"beta": 2.0, "gamma": 0.5}
    DGS(params, 0.1, reading=reading, eps=1.0, **own).step()
    for p, expected in zip(params, BY_HAND[reading], strict=True):
        torch.testing.assert_close(-p.detach(), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("reading", READINGS)
def test_the_optimizer_takes_the_step_of_the_definition_in_float64(reading, foreach):
    params = parameters()
    after = moved(
        params,
        lambda own: DGS([{"params": own[:2]}, {"params": own[2:]}], 0.3, reading=reading, foreach=foreach),
    )
    deltas = dgs_updates([p.grad for p in params], reading, lr=0.3)
    for p, delta, q in zip(params, deltas, after, strict=True):
        torch.testing.assert_close(p.detach() - delta, q, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("layout", ["whole", "transposed"])
@pytest.mark.parametrize("reading", READINGS)
def test_tensors_beyond_one_block_take_the_step_of_the_definition(reading, layout):
    """Blocks of BLOCK = 2**17 entries with a rest, a tensor of exactly one block, and small ones between."""
    params = parameters(torch.float64, ((300, 1000), (7,), (2**17,), (5, 2), (256, 256), (3,)))
    if layout == "transposed":
        params[0] = torch.nn.Parameter(params[0].detach().T)
        params[0].grad = parameters(torch.float64, ((300, 1000),))[0].grad.T
        assert not params[0].grad.is_contiguous()
    deltas = dgs_updates([p.grad for p in params], reading, lr=0.3)
    expected = [p.detach() - delta for p, delta in zip(params, deltas, strict=True)]
    kept = [p.grad.clone() for p in params]
    DGS(params, 0.3, reading=reading).step()
    for p, q in zip(params, expected, strict=True):
        torch.testing.assert_close(p.detach(), q, rtol=1e-12, atol=1e-13)
    assert same_bits(kept, [p.grad for p in params])


@pytest.mark.parametrize("reading", ["equation", "equation_per_tensor", "equation_magnitude_rate"])
def test_gamma_per_tensor_and_per_entry_weigh_the_sum_of_the_definition(reading):
    params = parameters()
    gamma = [torch.rand(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1)) * 10 for p in params]
    gamma[1], gamma[3] = 2.5, 0.0
    after = moved(params, lambda own: DGS(own, 0.3, reading=reading, gamma=gamma))
    grads = [p.grad for p in params]
    # spelled out, not with collective_impacts
    sums = [float((torch.as_tensor(y) * g.abs()).sum()) for y, g in zip(gamma, grads, strict=True)]
    for i, (p, g, q) in enumerate(zip(params, grads, after, strict=True)):
        size = g.abs() if reading == "equation_magnitude_rate" else 1
        impact = sums[i] if reading == "equation_per_tensor" else sum(sums)
        torch.testing.assert_close(q, p.detach() - 0.3 * size * g / (1e-8 + impact), rtol=1e-12, atol=1e-13)


def test_one_over_n_counts_the_terms_of_each_sum():
    grads = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([6.0])]
    # mean |entry| = 12/4 = 3; per tensor 2 and 6; mean norm (sqrt(14) + 6)/2 = 4.870829
    first = {"equation": 1 / 3, "equation_per_tensor": 1 / 2, "equation_tensor_norms": 1 / 4.870829}
    for reading, expected in first.items():
        delta = dgs_updates(grads, reading, lr=1.0, eps=1e-12)[0][0]
        assert float(delta) == pytest.approx(expected, rel=1e-6)


def test_parameters_without_a_gradient_are_neither_moved_nor_counted():
    used, unused = parameters(shapes=((3,), (4,)))
    before, unused.grad = unused.detach().clone(), None
    start = used.detach().clone()
    DGS([unused, used], 0.1, gamma=[7.0, 2.0]).step()
    assert torch.equal(unused, before)
    torch.testing.assert_close(start - used.detach(), 0.1 * used.grad / (1e-8 + 2 * used.grad.abs().sum()))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_gamma_zero_and_eps_one_the_equation_is_torch_sgd_bit_for_bit(momentum, maximize, dtype):
    params = parameters(dtype)
    shared = {"momentum": momentum, "maximize": maximize}
    ours = moved(params, lambda own: DGS(own, 0.1, gamma=0.0, eps=1.0, **shared), steps=5)
    assert same_bits(ours, moved(params, lambda own: torch.optim.SGD(own, 0.1, **shared), steps=5))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_equal_adam_with_zero_betas_to_rounding(decay):
    params = parameters(torch.float32)
    ours = moved(params, lambda own: DGS(own, 1e-3, reading="steps", weight_decay=decay), steps=20)
    adamw = {"lr": 1e-3, "betas": (0.0, 0.0), "weight_decay": decay}
    for a, b in zip(ours, moved(params, lambda own: torch.optim.AdamW(own, **adamw), steps=20), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reading", READINGS)
def test_momentum_puts_the_buffer_in_the_gradients_place(reading):
    params = parameters(shapes=((4,), (2, 2)))
    after = moved(params, lambda own: DGS(own, 0.1, reading=reading, momentum=0.5), steps=2)
    # the second gradient is -0.7 of the first, so the second buffer is 0.5 g - 0.7 g = -0.2 g
    first = dgs_updates([p.grad for p in params], reading, lr=0.1)
    second = dgs_updates([p.grad * -0.2 for p in params], reading, lr=0.1)
    for p, a, b, q in zip(params, first, second, after, strict=True):
        torch.testing.assert_close(q, p.detach() - a - b)


def test_the_sum_runs_over_all_groups_and_each_group_keeps_its_lr_beta_and_eps():
    a, b = parameters(shapes=((2,), (2,)))
    start = a.detach().clone(), b.detach().clone()
    DGS([{"params": [a]}, {"params": [b], "lr": 0.5, "beta": 3.0, "eps": 2.0}], 0.1, gamma=1.0).step()
    total = a.grad.abs().sum() + b.grad.abs().sum()
    torch.testing.assert_close(start[0] - a.detach(), 0.1 * a.grad / (1e-8 + total))
    torch.testing.assert_close(start[1] - b.detach(), 1.5 * b.grad / (2.0 + total))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("count", [1, 64, 65, 129])
def test_gradients_keep_their_bits_however_many_small_tensors_are_joined(count, foreach):
    params = parameters(torch.float32, ((3,),) * count)
    for reading in READINGS:
        before = [p.grad.clone() for p in params]
        DGS(params, 0.1, reading=reading, foreach=foreach).step()
        assert same_bits(before, [p.grad for p in params])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reading", READINGS)
def test_half_precision_neither_overflows_in_the_sum_nor_divides_by_zero(reading, dtype):
    param = torch.nn.Parameter(torch.zeros(100_000, dtype=dtype))
    param.grad = torch.full_like(param, 8.0)  # the sum, 800 000, is beyond float16
    param.grad[0] = 0
    eps = 1e-6 if reading == "steps" else 1e-8
    DGS([param], 0.5, reading=reading, eps=eps).step()
    assert param.isfinite().all()
    assert param[0].item() == 0
    assert param[1].item() < 0


def test_the_state_round_trips_and_training_goes_on_bit_for_bit():
    params = parameters(torch.float32)
    options = {"gamma": [1.0, torch.full((5,), 2.0), 0.5, 1.0, 3.0], "momentum": 0.9}
    first = DGS(params, 0.1, **options)
    first.step()
    twin = [torch.nn.Parameter(p.detach().clone()) for p in params]
    second = DGS(twin, 0.1, **options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for p, q in zip(params, twin, strict=True):
        q.grad = p.grad.clone()
    first.step()
    second.step()
    assert same_bits([p.detach() for p in params], [q.detach() for q in twin])


def test_a_closure_is_called_once_with_gradients_enabled_and_its_loss_returned():
    param, calls = torch.nn.Parameter(torch.ones(2)), []
    optimizer = DGS([param], torch.tensor(0.1))

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = (param**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert calls == [True]
    # mean |g| = 2 and g = 2, so both entries go from 1 to 0.9
    torch.testing.assert_close(param.detach(), torch.full((2,), 0.9))


def test_no_gradient_at_all_and_lr_zero_move_nothing():
    params = parameters()
    before = [p.detach().clone() for p in params]
    for reading in READINGS:
        DGS(params, 0.0, reading=reading).step()
    for p in params:
        p.grad = None
    DGS(params, 0.1).step()
    assert same_bits(before, [p.detach() for p in params])


@pytest.mark.parametrize("reading", READINGS)
def test_a_zero_gradient_moves_nothing(reading):
    param = torch.nn.Parameter(torch.ones(3))
    param.grad = torch.zeros(3)
    DGS([param], 0.1, reading=reading).step()
    assert torch.equal(param.detach(), torch.ones(3))


NAN, INF = float("nan"), float("inf")
BAD = [
    *(("lr", v) for v in (-1.0, NAN, INF, True, "1", None)),
    *(("beta", v) for v in (0.0, -1.0, NAN, INF, True)),
    *(("eps", v) for v in (0.0, -1e-8, NAN, INF, True)),
    *(("gamma", v) for v in (-1.0, NAN, INF, True, "1/m", None, [1.0, -1.0], [torch.tensor([-1.0, 1, 1]), 1.0])),
    *(("gamma", v) for v in ([1.0], [torch.ones(4), 1.0], [torch.full((3,), INF), 1.0])),
    *(("momentum", v) for v in (1.0, -0.1, NAN, True)),
    *(("weight_decay", v) for v in (-0.1, NAN, INF, True)),
    *(("reading", v) for v in ("E1", "", None, 1)),
    *(("maximize", v) for v in (1, None)),
    ("foreach", "yes"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_hyperparameter_is_refused_by_name_in_the_constructor_and_in_a_group(name, value):
    params = parameters(torch.float32, ((3,), (2,)))
    with pytest.raises(ValueError, match=name):
        DGS(params, **{"lr": 0.1, name: value})
    optimizer = DGS(parameters(torch.float32, ((1,),)), 0.1)
    with pytest.raises(ValueError, match=name):
        optimizer.add_param_group({"params": params, name: value})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("reading", "options", "message"),
    [
        ("steps", {"beta": 2.0}, "beta must stay 1.0, 'steps' has none"),
        ("steps_per_tensor", {"gamma": 1.0}, "gamma must stay '1/n'"),
        ("equation_tensor_norms", {"gamma": [torch.ones(3)]}, "gamma.0. must be a number"),
    ],
)
def test_what_a_reading_does_not_have_is_refused(reading, options, message):
    with pytest.raises(ValueError, match=message):
        DGS([torch.nn.Parameter(torch.ones(3))], 0.1, reading=reading, **options)


def test_mixed_readings_complex_parameters_sparse_gradients_and_a_vanishing_eps_are_refused():
    param = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="same for all groups, 'equation', got 'steps'"):
        DGS([{"params": [param], "reading": "steps"}], 0.1)
    with pytest.raises(ValueError, match="must be real"):
        DGS([torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))], 0.1)
    with pytest.raises(ValueError, match=r"eps must not vanish in torch\.float16"):
        DGS([torch.nn.Parameter(torch.ones(2, dtype=torch.float16))], 0.1, reading="steps")
    param.grad = torch.zeros(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        DGS([param], 0.1).step()
