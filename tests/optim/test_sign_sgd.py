"""SignSGD: by hand, against a float64 oracle, and its equalities with other updates."""

import math

import pytest
import torch

from regrad.optim.sign_sgd import SignSGD
from regrad.transforms.placements import PLACEMENTS


def parameter(*values, dtype=torch.float64):
    return torch.nn.Parameter(torch.tensor(values, dtype=dtype))


def trajectory(grads, **options):
    """The parameter, from 0, after each gradient."""
    param = torch.nn.Parameter(torch.zeros_like(grads[0]))
    optimizer = SignSGD([param], **options)
    path = []
    for grad in grads:
        param.grad = grad.clone()
        optimizer.step()
        path.append(param.detach().clone())
    return path


def random_grads(steps=20, shape=(4, 3), dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(steps)]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        # g = 4, then -2; b = 0.5, lr = 1
        ("example", [-2.0, -2.0]),  # m = 2, then 1 - 1 = 0
        ("batch", [-0.5, -0.25]),  # m = 0.5, then 0.25 - 0.5 = -0.25
        ("ema", [-1.0, -1.0]),  # sign 2 = 1, then sign 0 = 0
    ],
)
@pytest.mark.parametrize("foreach", [False, True])
def test_two_steps_by_hand(placement, expected, foreach):
    grads = [torch.tensor([4.0]), torch.tensor([-2.0])]
    path = trajectory(grads, lr=1.0, momentum=0.5, placement=placement, foreach=foreach)
    assert [float(p) for p in path] == expected


def test_weight_decay_is_decoupled_and_applied_first():
    param = parameter(10.0)
    param.grad = torch.tensor([7.0], dtype=torch.float64)
    SignSGD([param], lr=0.1, momentum=0.0, weight_decay=0.5).step()
    assert param.item() == pytest.approx(10 * 0.95 - 0.1)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_loop_over_numbers_gives_the_same_path(placement, momentum):
    grads = random_grads()
    options = {"lr": 0.05, "momentum": momentum, "placement": placement, "weight_decay": 0.01}
    found = trajectory(grads, **options)[-1].flatten().tolist()
    for i, value in enumerate(found):
        theta, m = 0.0, 0.0
        for grad in grads:
            g = float(grad.flatten()[i])
            z = math.copysign(1, g) if placement == "batch" else g
            m = momentum * m + (1 - momentum) * z
            theta = theta * (1 - 0.05 * 0.01) - 0.05 * (math.copysign(1, m) if placement == "ema" else m)
        assert value == pytest.approx(theta, rel=1e-10)


def test_without_momentum_batch_and_ema_have_the_same_bits():
    grads = random_grads(dtype=torch.float32)
    batch, ema = (trajectory(grads, lr=0.1, momentum=0.0, placement=p) for p in ("batch", "ema"))
    assert all(map(torch.equal, batch, ema))


def test_one_example_makes_example_and_batch_the_same_bits():
    grads = random_grads(dtype=torch.float32)
    batch = trajectory(grads, lr=0.1, placement="batch")
    example = trajectory([g.sign() for g in grads], lr=0.1, placement="example")
    assert all(map(torch.equal, batch, example))


def test_example_is_plain_averaging_and_so_sgd_with_dampening():
    # torch's SGD would start its buffer at g_1, ours starts at 0
    grads = random_grads()
    path = trajectory(grads, lr=0.1, momentum=0.9, placement="example")
    param = torch.nn.Parameter(torch.zeros_like(grads[0]))
    sgd = torch.optim.SGD([param], lr=0.1, momentum=0.9, dampening=0.9)
    sgd.state[param]["momentum_buffer"] = torch.zeros_like(param)
    for grad, expected in zip(grads, path, strict=True):
        param.grad = grad
        sgd.step()
        torch.testing.assert_close(param.detach(), expected, rtol=1e-12, atol=1e-15)


def test_a_gradient_of_zero_does_not_move_even_late():
    path = trajectory([torch.zeros(3)] * 3, lr=1.0, placement="ema")
    assert torch.equal(path[-1], torch.zeros(3))


def test_no_state_is_kept_without_momentum():
    param = parameter(1.0)
    optimizer = SignSGD([param], 0.1, momentum=0.0)
    param.grad = torch.ones_like(param)
    optimizer.step()
    assert not optimizer.state


def test_groups_may_differ_in_placement():
    first, second = parameter(0.0), parameter(0.0)
    groups = [{"params": [first], "placement": "batch"}, {"params": [second], "lr": 0.5}]
    optimizer = SignSGD(groups, 1.0, momentum=0.5)
    for param in (first, second):
        param.grad = torch.tensor([3.0], dtype=torch.float64)
    optimizer.step()
    assert (first.item(), second.item()) == (-0.5, -0.5)


def test_sparse_gradients_are_refused():
    param = torch.nn.Parameter(torch.zeros(3))
    param.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="SignSGD does not support sparse gradients"):
        SignSGD([param], 0.1).step()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"momentum": 1.0}, r"momentum must be a finite number in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, "momentum"),
        ({"momentum": math.nan}, "momentum"),
        ({"placement": "late"}, "placement must be one of 'example', 'batch', 'ema', got 'late'"),
        ({"weight_decay": -1}, "weight_decay must be a finite number >= 0, got -1"),
        ({"maximize": 1}, "maximize must be one of True, False, got 1"),
        ({"foreach": "no"}, "foreach"),
        ({"lr": -0.1}, "lr"),
        ({"lr": True}, "lr"),
    ],
)
def test_bad_hyperparameters_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        SignSGD([parameter(1.0)], **{"lr": 0.1, **bad})
    with pytest.raises(ValueError, match=message):
        SignSGD([parameter(1.0)], 0.1).add_param_group({"params": [parameter(1.0)], **bad})
