"""SignSGD and MicroAdam in the training loops of their docstrings, with real per-example statistics."""

import pytest
import torch

from regrad.optim.micro_adam import MicroAdam
from regrad.optim.sign_sgd import SignSGD
from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.transforms.clip_statistics import clip_statistics


def network():
    layers = torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)
    model = torch.nn.Sequential(*layers).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in model.parameters():
            param.copy_(0.5 * torch.randn(param.shape, generator=generator, dtype=torch.float64))
    return model


def batches(count=12, size=8):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        inputs = torch.randn(size, 4, generator=generator, dtype=torch.float64)
        yield inputs, inputs.sum(1, keepdim=True).sin()


def losses(model, batch):
    return (model(batch[0]) - batch[1]).square().sum(1)


def total_loss(model):
    with torch.no_grad():
        return sum(losses(model, batch).mean().item() for batch in batches(count=4, size=256))


def values(model):
    return [p.detach() for p in model.parameters()]


def test_adam_on_statistics_is_adamw_on_backward():
    ours, theirs = network(), network()
    optimizer = MicroAdam(ours.named_parameters(), lr=0.01, preconditioner="adam", weight_decay=0.1)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    for batch in batches():
        optimizer.step(statistics=gradient_statistics(ours, losses, batch, ["mean"], method="vmap"))
        reference.zero_grad()
        losses(theirs, batch).mean().backward()
        reference.step()
    torch.testing.assert_close(values(ours), values(theirs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("preconditioner", ["micro", "variance", "mean_square", 0.5])
def test_the_documented_loop_trains(preconditioner):
    model = network()
    optimizer = MicroAdam(model.named_parameters(), lr=0.04, preconditioner=preconditioner)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    before = total_loss(model)
    for batch in batches(count=50, size=16):
        statistics = gradient_statistics(model, losses, batch, ["mean", "variance"], method="vmap")
        optimizer.step(statistics=statistics, batch_size=len(batch[0]))
        scheduler.step()
    assert total_loss(model) < 0.7 * before


def test_a_clipped_mean_in_the_gradient_is_that_of_clipped_statistics():
    moved = []
    for in_grad in (True, False):
        model = network()
        optimizer = MicroAdam(model.named_parameters(), lr=0.01, preconditioner="micro")
        for batch in batches():
            statistics = gradient_statistics(model, losses, batch, ["mean", "variance"], method="vmap")
            clipped, _ = clip_statistics(statistics, 0.05)
            if in_grad:
                assign_grad(model, statistics["mean"])
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
                clipped = {"variance": clipped["variance"]}
            optimizer.step(statistics=clipped, batch_size=8)
        moved.append(values(model))
    torch.testing.assert_close(*moved, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("group_size", [1, 2, 8])
def test_early_signs_come_from_the_statistics(group_size):
    model = network()
    optimizer = SignSGD(model.parameters(), lr=0.05, momentum=0.0, placement="example")
    batch = next(iter(batches()))
    by_hand = torch.zeros_like(model[0].weight)
    for chosen in torch.arange(8).split(group_size):
        part = (batch[0][chosen], batch[1][chosen])
        mean = torch.autograd.grad(losses(model, part).mean(), model[0].weight)[0]
        by_hand += mean.sign() * group_size / 8
    before = model[0].weight.detach().clone()
    signs = gradient_statistics(model, losses, batch, ["mean_sign"], method="vmap", group_size=group_size)
    assign_grad(model, signs["mean_sign"])
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), before - 0.05 * by_hand)


def test_a_whole_group_has_the_bits_of_the_batch_placement():
    moved = []
    for placement, statistic, group_size in (("example", "mean_sign", 8), ("batch", "mean", 8)):
        model = network()
        optimizer = SignSGD(model.parameters(), lr=0.05, placement=placement)
        for batch in batches():
            options = {"method": "vmap", "group_size": group_size}
            assign_grad(model, gradient_statistics(model, losses, batch, [statistic], **options)[statistic])
            optimizer.step()
        moved.append(values(model))
    assert all(map(torch.equal, *moved))
