"""MicroAdam's inputs: which gradient it reads, what it refuses, and that a training loop stays plain."""

import math

import pytest
import torch

from regrad.optim.micro_adam import MicroAdam


def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def ones(model, *kinds, value=1.0):
    return {kind: {n: torch.full_like(p, value) for n, p in model.named_parameters()} for kind in kinds}


def snapshot(model):
    return [p.detach().clone() for p in model.parameters()]


def unchanged(model, before):
    return all(map(torch.equal, before, snapshot(model)))


def test_the_mean_of_the_statistics_stands_in_for_an_absent_gradient():
    moved = []
    for in_grad in (True, False):
        model = layer()
        optimizer = MicroAdam(model.named_parameters(), preconditioner="variance")
        stats = ones(model, "mean", "variance", value=0.5)
        if in_grad:
            for name, param in model.named_parameters():
                param.grad = stats["mean"][name].clone()
            del stats["mean"]
        optimizer.step(statistics=stats)
        moved.append(snapshot(model))
    assert all(map(torch.equal, *moved))


def test_a_gradient_given_twice_is_refused_and_nothing_moves():
    model = layer()
    optimizer = MicroAdam(model.named_parameters())
    model.bias.grad = torch.ones_like(model.bias)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"the gradient of 'bias' is given twice: call zero_grad\(\)"):
        optimizer.step(statistics=ones(model, "mean", "variance"), batch_size=4)
    assert unchanged(model, before)
    assert not optimizer.state


def test_one_tensor_in_both_places_is_no_contradiction():
    model = layer()
    optimizer = MicroAdam(model.named_parameters())
    stats = ones(model, "mean", "variance")
    for name, param in model.named_parameters():
        param.grad = stats["mean"][name]
    before = snapshot(model)
    optimizer.step(statistics=stats, batch_size=4)
    assert not unchanged(model, before)


def test_a_frozen_parameter_with_neither_is_skipped_and_gets_no_state():
    model = layer()
    model.bias.requires_grad_(False)
    optimizer = MicroAdam(model.named_parameters())
    stats = ones(model, "mean", "variance")
    del stats["mean"]["bias"], stats["variance"]["bias"]
    before = model.bias.detach().clone()
    optimizer.step(statistics=stats, batch_size=4)
    assert torch.equal(before, model.bias)
    assert list(optimizer.state) == [model.weight]


def test_a_parameter_that_the_statistics_do_not_know_is_refused_by_name():
    """They are another model's, or the names are: nothing would train, and nobody would notice."""
    model = layer()
    optimizer = MicroAdam(model.named_parameters())
    stats = ones(model, "mean", "variance")
    renamed = {kind: {f"inner.{name}": t for name, t in tensors.items()} for kind, tensors in stats.items()}
    with pytest.raises(ValueError, match=r"'weight' has no gradient, .* it has 'inner.weight', 'inner.bias', …"):
        optimizer.step(statistics=renamed, batch_size=4)


@pytest.mark.parametrize(
    ("preconditioner", "kinds", "batch_size", "message"),
    [
        ("micro", ["mean"], 4, r"'micro' needs the statistic 'mean_square' or 'variance' of 'weight' at every step"),
        ("variance", ["mean", "mean_square"], 4, "needs the statistic 'variance' of"),
        ("mean_square", ["mean", "variance"], None, "'mean_square' needs batch_size >= 2, got None"),
        (0.5, ["mean", "variance"], 1, "preconditioner=0.5 needs batch_size >= 2, got 1"),
        ("micro", ["mean", "variance"], 0, "batch_size must be an integer >= 1, got 0"),
        ("micro", ["mean", "variance"], True, "batch_size must be an integer >= 1, got True"),
        ("micro", ["mean", "variance"], 4.0, "batch_size must be an integer >= 1, got 4.0"),
    ],
)  # fmt: skip
def test_missing_statistics_are_named_and_nothing_moves(preconditioner, kinds, batch_size, message):
    model = layer()
    optimizer = MicroAdam(model.named_parameters(), preconditioner=preconditioner)
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        optimizer.step(statistics=ones(model, *kinds), batch_size=batch_size)
    assert unchanged(model, before)


def test_a_late_fault_in_the_statistics_moves_nothing_at_all():
    model = layer()
    optimizer = MicroAdam(model.named_parameters())
    stats = ones(model, "mean", "variance")
    stats["variance"]["bias"] = torch.ones(7)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"\['bias'\] must have its parameter's shape \[2\], got \[7\]"):
        optimizer.step(statistics=stats, batch_size=4)
    assert unchanged(model, before)
    assert not optimizer.state


def test_statistics_need_names():
    model = layer()
    with pytest.raises(ValueError, match=r"preconditioner='micro' .* pass model.named_parameters\(\)"):
        MicroAdam(model.parameters(), preconditioner="micro")
    optimizer = MicroAdam(model.parameters(), preconditioner="adam")
    with pytest.raises(ValueError, match=r"pass model\.named_parameters"):
        optimizer.step(statistics=ones(model, "mean"))


def test_statistics_are_not_modified_and_may_be_of_a_wider_dtype():
    model = layer().to(torch.bfloat16)
    quarters = {n: torch.full(p.shape, 0.25) for n, p in model.named_parameters()}
    stats = {"mean": quarters, "variance": quarters}
    optimizer = MicroAdam(model.named_parameters(), preconditioner=0.5)
    optimizer.step(statistics=stats, batch_size=4)
    assert all(bool((t == 0.25).all()) for kind in stats.values() for t in kind.values())
    assert model.weight.dtype == torch.bfloat16
    assert bool(torch.isfinite(model.weight).all())


def test_complex_parameters_are_for_adam_only():
    param = torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))
    param.grad = torch.ones_like(param)
    optimizer = MicroAdam([("w", param)], preconditioner="variance")
    with pytest.raises(TypeError, match="preconditioner='variance' refuses complex parameters like 'w'"):
        optimizer.step(statistics={"variance": {"w": torch.ones(2)}})


def test_sparse_gradients_are_refused():
    param = torch.nn.Parameter(torch.zeros(3))
    param.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="MicroAdam does not support sparse gradients"):
        MicroAdam([("w", param)], preconditioner="adam").step()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"lr": math.nan}, "lr must be a finite number >= 0"),
        ({"lr": True}, "lr"),
        ({"betas": (0.9, 1.0)}, r"betas\[1\] must be a finite number in \[0, 1\), got 1.0"),
        ({"betas": 0.9}, "betas must be a tuple of 2 numbers"),
        ({"eps": -1e-8}, "eps must be a finite number >= 0"),
        ({"preconditioner": "var"}, "preconditioner must be one of 'adam', 'micro', 'variance'"),
        ({"preconditioner": True}, "preconditioner"),
        ({"weight_decay": math.inf}, "weight_decay"),
        ({"floor": 1.5}, r"floor must be a finite number in \[0, 1\], got 1.5"),
        ({"maximize": None}, "maximize must be one of True, False, got None"),
    ],
)
def test_bad_hyperparameters_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        MicroAdam(layer().named_parameters(), **bad)
    optimizer = MicroAdam(layer().named_parameters())
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [("late", torch.nn.Parameter(torch.zeros(2)))], **bad})
    assert len(optimizer.param_groups) == 1


def test_an_unnamed_group_leaves_no_trace():
    optimizer = MicroAdam([torch.nn.Parameter(torch.zeros(2))], preconditioner="adam")
    with pytest.raises(ValueError, match=r"pass model\.named_parameters"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(2))], "preconditioner": "micro"})
    assert len(optimizer.param_groups) == 1


def test_a_training_loop_with_a_scheduler_learns():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 3, generator=generator)
    targets = inputs @ torch.tensor([1.0, -2.0, 3.0])
    model = torch.nn.Linear(3, 1)
    optimizer = MicroAdam(model.named_parameters(), lr=0.6, preconditioner="micro")
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for _ in range(40):
        errors = (model(inputs)[:, 0] - targets).detach()
        weight = (2 * errors[:, None] * inputs)[:, None, :]
        examples = {"weight": weight, "bias": 2 * errors[:, None]}
        stats = {"mean": {n: g.mean(0) for n, g in examples.items()},
                 "variance": {n: g.var(0) for n, g in examples.items()}}  # fmt: skip
        optimizer.step(statistics=stats, batch_size=64)
        scheduler.step()
    assert float(errors.square().mean()) < 0.05 * float(targets.square().mean())


def test_a_closure_is_called_once_and_its_gradients_are_used():
    model, calls = layer(), []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = model(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    optimizer = MicroAdam(model.named_parameters(), preconditioner="variance")
    before = snapshot(model)
    loss = optimizer.step(closure, statistics=ones(model, "variance"))
    assert calls == [True]
    assert loss.item() > 0
    assert not unchanged(model, before)
