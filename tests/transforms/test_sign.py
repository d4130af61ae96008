"""The sign's three places: by hand, the equalities between them, and the sizes of their updates."""

import math

import pytest
import torch

from regrad.transforms.placements import PLACEMENTS, ema_gain, group_count, noise_limited_update_rms
from regrad.transforms.sign import sign_direction, sign_directions


def test_each_placement_by_hand():
    # b = 0.75, m = [4, -1, 0], grad = [-8, 0, 2]; 1 - b = 0.25
    grad = torch.tensor([-8.0, 0.0, 2.0])
    start = torch.tensor([4.0, -1.0, 0.0])
    # gradient averaged: 3 - 2 = 1, -0.75, 0.5
    m = start.clone()
    assert sign_direction(grad, m, momentum=0.75, placement="example").tolist() == [1.0, -0.75, 0.5]
    assert m.tolist() == [1.0, -0.75, 0.5]
    # sign averaged: 3 - 0.25, -0.75 + 0, 0 + 0.25
    m = start.clone()
    assert sign_direction(grad, m, momentum=0.75, placement="batch").tolist() == [2.75, -0.75, 0.25]
    # sign of the average; the average itself keeps its size
    m = start.clone()
    assert sign_direction(grad, m, momentum=0.75, placement="ema").tolist() == [1.0, -1.0, 1.0]
    assert m.tolist() == [1.0, -0.75, 0.5]


def test_the_sign_of_zero_is_zero():
    for placement in PLACEMENTS:
        direction = sign_direction(torch.zeros(2), torch.zeros(2), momentum=0.9, placement=placement)
        assert direction.tolist() == [0.0, 0.0]


def test_without_momentum_batch_and_ema_are_one_update():
    grad = torch.randn(50, generator=torch.Generator().manual_seed(0))
    batch, ema = (sign_direction(grad, None, momentum=0.0, placement=p) for p in ("batch", "ema"))
    assert torch.equal(batch, ema)
    assert torch.equal(batch, grad.sign())


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_fused_directions_have_the_bits_of_the_plain_ones(placement, momentum):
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(n, generator=generator) for n in (3, 1, 40)]
    plain, fused = ([torch.ones_like(g) if momentum else None for g in grads] for _ in range(2))
    expected = [
        sign_direction(g, m, momentum=momentum, placement=placement)
        for g, m in zip(grads, plain, strict=True)
    ]
    found = sign_directions(grads, fused if momentum else None, momentum=momentum, placement=placement)
    assert all(map(torch.equal, expected, found))


def test_the_gain_of_an_average_by_hand():
    assert ema_gain(0.0) == 1.0
    assert ema_gain(0.9) == pytest.approx(4.3589, abs=1e-4)  # sqrt(1.9 / 0.1) = sqrt(19)
    assert ema_gain(0.95) == pytest.approx(6.2450, abs=1e-4)  # sqrt(39)
    with pytest.raises(ValueError, match="momentum"):
        ema_gain(1.0)


def test_update_sizes_by_hand():
    size = {p: noise_limited_update_rms(p, momentum=0.9, batch_size=32) for p in PLACEMENTS}
    assert size["ema"] == 1.0
    assert size["batch"] == pytest.approx(1 / math.sqrt(19))  # 0.229
    assert size["example"] == pytest.approx(1 / math.sqrt(19 * 32))  # 0.0406
    grouped = noise_limited_update_rms("example", momentum=0.9, batch_size=32, group_size=8)
    assert grouped == pytest.approx(1 / math.sqrt(19 * 4))
    whole = noise_limited_update_rms("example", momentum=0.9, batch_size=32, group_size=32)
    assert whole == size["batch"]


def test_groups_must_divide_the_batch():
    assert group_count(32, 8) == 4
    with pytest.raises(ValueError, match=r"group_size must divide batch_size=32, got 5"):
        group_count(32, 5)
    with pytest.raises(ValueError, match="group_size"):
        group_count(32, 0)
    with pytest.raises(ValueError, match="placement must be one of"):
        noise_limited_update_rms("late", momentum=0.9, batch_size=32)
