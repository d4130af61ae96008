"""What is refuted by construction: each test is a proof that the ledger names, and that the notebook runs.

The proofs need torch and the library only. ``tests/transforms/test_dgs_theorems.py`` proves the same theorems at
more length, and shows for each that an altered formula fails it. The file stays at the path that the ledger has.
"""

import math

import torch

from regrad.studies.dgs.tables import PRINTED
from regrad.transforms.dgs import READINGS, dgs_updates
from regrad.transforms.dgs_geometry import cosine, step_norms
from regrad.transforms.printed_dgs import CLASSES, printed_failures, repaired_parameters

RESNET20 = 269_722  # parameters of ResNet-20


def normal(*shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def one(gradient, reading, **options):
    """The update of one tensor at learning rate 1."""
    (delta,) = dgs_updates([gradient], reading, lr=1.0, **options)
    return delta


def test_the_printed_program_stops_and_repaired_it_is_plain_sgd_bit_for_bit():
    assert [failure.error for failure in printed_failures()] == ["ValueError", "RuntimeError", "RuntimeError"]
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(32, 3, 8, 8, generator=generator), torch.randint(CLASSES, (32,), generator=generator))
        for _ in range(20)
    ]
    found = {
        lines: repaired_parameters(batches, torch.Generator().manual_seed(1), scaling=lines)
        for lines in ("printed", "removed", "used")
    }
    assert torch.equal(found["printed"], found["removed"])
    # Had its learning rates been read, the program would do something else.
    assert not torch.allclose(found["printed"], found["used"], atol=1e-3)


def test_t1_the_equation_is_parallel_to_the_gradient_for_any_gamma():
    gradients = normal((20, 30), (50,))
    gamma = [10 * g.abs() for g in normal((20, 30), (50,), seed=1)]
    for given in ("1/n", 1.0, gamma):
        updates = dgs_updates(gradients, "equation", lr=1.0, gamma=given)
        assert math.isclose(cosine(updates, gradients), 1.0, abs_tol=1e-12)


def test_t2_the_equations_step_shrinks_with_the_parameter_count():
    # lr sqrt(pi / 2n): a hundred times the parameters, a tenth of the step
    few, many = step_norms([1000, 100_000], "equation", torch.Generator().manual_seed(0), gamma=1.0)
    assert math.isclose(few / many, 10, rel_tol=0.1)


def test_t3_the_equation_ignores_a_common_scale_and_not_one_per_entry():
    (g,) = normal((1000,))
    scales = torch.logspace(-3, 3, 1000, dtype=g.dtype)
    for reading, own in (("equation", False), ("steps", True)):
        before = one(g, reading, eps=1e-12)
        assert torch.allclose(one(1000 * g, reading, eps=1e-12), before, rtol=1e-4)
        assert torch.allclose(one(scales * g, reading, eps=1e-12), before, rtol=1e-4) is own


def test_t4_the_step_does_not_vanish_with_the_gradient():
    (g,) = normal((1000,))
    for size in (1.0, 1e-2, 1e-4):
        # sum of |update| is lr / gamma under the equation, n lr under the steps, whatever the gradient's size
        assert math.isclose(float(one(size * g, "equation", gamma=1.0, eps=1e-12).abs().sum()), 1, rel_tol=1e-6)
        assert math.isclose(float(one(size * g, "steps", eps=1e-12).abs().sum()), 1000, rel_tol=1e-3)


def test_t5_the_steps_are_signs():
    g = torch.tensor([3.0, -0.02, 1e-4], dtype=torch.float64)
    assert torch.allclose(one(g, "steps", eps=1e-8), g.sign(), rtol=1e-3)


def test_t6_the_steps_are_adam_without_averages():
    (start,) = normal((40, 5), dtype=torch.float32)
    param = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([param], lr=1e-3, betas=(0.0, 0.0))
    own = start.clone()
    for step in range(10):
        (param.grad,) = normal((40, 5), seed=step, dtype=torch.float32)
        adam.step()
        own -= 1e-3 * one(param.grad, "steps")
    assert float((param.detach() - own).abs().max()) < 2e-6


def test_t7_no_printed_form_gives_larger_gradients_smaller_updates():
    g = torch.logspace(-6, 2, 200, dtype=torch.float64)
    for reading in READINGS:
        assert bool((one(g, reading).abs().diff() >= 0).all()), reading


def test_t8_an_absolute_value_in_the_numerator_is_no_descent():
    # J = x - 3 y has gradient (1, -3) everywhere; the update (1, 3)/4 raises it by (-1 + 9)/4 = 2
    g = torch.tensor([1.0, -3.0])
    with_a_bar = g.abs() / g.abs().sum()
    assert float(g.dot(-with_a_bar)) == 2.0


def test_t9_equation_and_steps_are_five_orders_of_magnitude_apart():
    (g,) = normal((RESNET20,))
    ratio = float(one(g, "steps").norm() / one(g, "equation", gamma=1.0).norm())
    # n sqrt(2 / pi) = n / 1.2533
    assert math.isclose(ratio, RESNET20 / 1.2533, rel_tol=0.01)


def test_a_printed_cell_has_more_spikes_with_dgs_than_without():
    more = [cell for cell, (baseline, dgs) in PRINTED.items() if dgs.spikes > baseline.spikes]
    assert more == [("lars", "resnet32", "hard")]
