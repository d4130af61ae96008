"""The program printed with DGS: it stops in three places, and repaired it is plain SGD bit for bit."""

import pytest
import torch

from regrad.optim.dgs import DGS
from regrad.transforms.dgs import update
from regrad.transforms.printed_dgs import (
    CLASSES,
    FEATURES,
    iterations,
    printed_failures,
    repaired_parameters,
)


def batches(count=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(32, 3, 32, 32, generator=generator),
            torch.randint(CLASSES, (32,), generator=generator),
        )
        for _ in range(count)
    ]


def generator():
    return torch.Generator().manual_seed(1)


def trained(make, data):
    """An ordinary training loop of a linear layer without bias, written without the audited module."""
    weight = torch.nn.Parameter(torch.nn.init.xavier_normal_(torch.empty(FEATURES, CLASSES), generator=generator()))
    optimizer = make([weight])
    for images, labels in data:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(images.flatten(1) @ weight, labels).backward()
        optimizer.step()
    return weight.detach()


def test_the_printed_program_stops_at_the_initialisation_then_the_product_then_the_loss():
    first, second, third = printed_failures()
    assert first.error == "ValueError"
    assert "fewer than 2 dimensions" in first.message
    assert second.error == "RuntimeError"
    assert "size mismatch" in second.message
    assert third.error == "RuntimeError"
    assert "xavier_normal_" in first.expression


def test_the_repaired_program_is_plain_sgd_bit_for_bit_with_and_without_its_scaling_lines():
    data = batches()
    printed = repaired_parameters(data, generator(), scaling="printed")
    assert torch.equal(printed, repaired_parameters(data, generator(), scaling="removed"))
    assert torch.equal(printed, trained(lambda p: torch.optim.SGD(p, lr=1e-3), data))


def test_had_the_rates_been_used_the_program_would_be_the_four_steps_and_not_sgd():
    data = batches(10)
    used = repaired_parameters(data, generator(), scaling="used")
    steps = trained(lambda p: DGS(p, 1e-3, reading="steps"), data)
    torch.testing.assert_close(used, steps, rtol=0, atol=1e-5)
    printed = repaired_parameters(data, generator(), scaling="printed")
    assert float((used - printed).abs().mean()) > 1e-3


def test_the_printed_program_does_learn_as_logistic_regression():
    # class c is a bump at feature c: SGD at the printed rate lowers the loss on it
    labels = torch.arange(32) % CLASSES
    images = torch.zeros(32, FEATURES)
    images[torch.arange(32), labels] = 30.0
    before, after = (repaired_parameters([(images, labels)] * n, generator()) for n in (1, 100))
    losses = [float(torch.nn.functional.cross_entropy(images @ w, labels)) for w in (before, after)]
    assert losses[1] < 0.1 * losses[0]


def test_a_new_parameter_as_the_printed_update_returns_is_not_stepped_by_the_optimizer():
    old = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([old], lr=0.1)
    new = torch.nn.Parameter(update(old.detach(), torch.ones(2), torch.ones(2)))
    (new**2 + new).sum().backward()
    before = new.detach().clone()
    optimizer.step()
    assert new is not old
    assert torch.equal(new.detach(), before)


def test_the_budget_is_15630_steps_and_the_tables_spikes_read_as_iterations_need_hundreds_of_epochs():
    assert iterations() == 15_630
    assert round(497_000 / iterations(1)) == 318  # the tables' smallest and largest counts, in thousands
    assert round(769_000 / iterations(1)) == 492


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="scaling must be one of"):
        repaired_parameters(batches(1), generator(), scaling="no")
