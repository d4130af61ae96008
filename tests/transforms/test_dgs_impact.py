"""The sum of |g|: against float64, over blocks and joined small tensors, for mixed kinds."""

import pytest
import torch

from regrad.transforms.dgs_impact import BLOCK, SMALL, Scratch, _pieces, collective_impacts, l1_norm


def normal(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype) for s in shapes]


@pytest.mark.parametrize(
    "shapes",
    [
        [(BLOCK + 1,)],
        [(3 * BLOCK,)],
        [(SMALL - 1,)] * 5,
        [(BLOCK, 2), (3,), (SMALL,), (0,), (), (SMALL - 1,), (4, 5)],
        [(3,)] * 200,
        [(0,)],
    ],
)
def test_the_sum_equals_float64_and_leaves_its_input_alone(shapes):
    gradients = normal(*shapes)
    kept = [g.clone() for g in gradients]
    expected = sum(g.double().abs().sum() for g in gradients)
    torch.testing.assert_close(l1_norm(gradients).double(), expected, rtol=1e-6, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(kept, gradients, strict=True))


def test_strides_dtypes_and_reused_scratch_do_not_change_the_sum():
    scratch = Scratch()
    gradients = [*normal((40, 30), (7,)), normal((9,), dtype=torch.float64)[0], *normal((5,), (6,))]
    gradients[0] = gradients[0].T
    expected = sum(g.double().abs().sum() for g in gradients)
    for _ in range(2):
        torch.testing.assert_close(l1_norm(gradients, scratch).double(), expected, rtol=1e-6, atol=0)
    assert l1_norm(gradients[2:3], scratch).dtype == torch.float64


def test_no_piece_is_larger_than_a_block_so_that_memory_is_bounded():
    pieces = list(_pieces(normal(*[(SMALL - 1,)] * 9, (2 * BLOCK + 5,), *[(SMALL // 2,)] * 9)))
    sizes = [sum(t.numel() for t in piece) for piece in pieces]
    assert sum(sizes) == 9 * (SMALL - 1) + 2 * BLOCK + 5 + 9 * (SMALL // 2)
    assert max(sizes) <= BLOCK


def test_half_precision_is_summed_in_float32():
    (total,) = collective_impacts([torch.full((100_000,), 8.0, dtype=torch.float16)], 1.0, "equation")
    assert total.dtype == torch.float32
    assert total.item() == 800_000


@pytest.mark.parametrize("gamma", [[2.0, 2.0], [2.0, 0.5], [torch.full((3,), 2.0), 0.5], [2.0, torch.tensor([1.0, 0])]])
def test_gammas_weigh_their_own_tensor(gamma):
    gradients = [torch.tensor([1.0, -2.0, 3.0]), torch.tensor([4.0, -5.0])]
    expected = sum(float((torch.as_tensor(y) * g.abs()).sum()) for y, g in zip(gamma, gradients, strict=True))
    assert collective_impacts(gradients, gamma, "equation")[0].item() == pytest.approx(expected)
    each = [impact.item() for impact in collective_impacts(gradients, gamma, "equation_per_tensor")]
    assert sum(each) == pytest.approx(expected)


def test_one_over_n_may_stand_beside_numbers():
    gradients = [torch.tensor([1.0, -2.0]), torch.tensor([6.0, 3.0])]
    # entries: 3/4 + 0.5·9 = 5.25
    assert collective_impacts(gradients, ["1/n", 0.5], "equation")[0].item() == pytest.approx(5.25)
