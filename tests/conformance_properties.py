"""What an optimizer must do: torch's own list in our words, and what goes beyond it.

A property is a function of an ``Entry`` and a device that raises AssertionError (or whatever the
optimizer raises) when it does not hold. ``TORCH_LIST`` and ``BEYOND`` hold them by name.
"""

import copy
import io
import pickle
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LinearLR, ReduceLROnPlateau, StepLR

from conformance import Entry

Property = Callable[[Entry, str], None]
TORCH_LIST: dict[str, Property] = {}
BEYOND: dict[str, Property] = {}


def listed(table: dict[str, Property]) -> Callable[[Property], Property]:
    def add(prop: Property) -> Property:
        table[prop.__name__] = prop
        return prop

    return add


class Problem:
    """Least squares on one input, from a seeded start: loss = |W x + b|²."""

    def __init__(self, device: str, dtype: torch.dtype = torch.float32, layout: str = "contiguous") -> None:
        generator = torch.Generator().manual_seed(17)
        weight, bias, x = (torch.rand(n, generator=generator) for n in ((10, 5), (10,), (5,)))
        self.params = {
            "weight": torch.nn.Parameter(laid_out(weight.to(device, dtype), layout)),
            "bias": torch.nn.Parameter(bias.to(device, dtype)),
        }
        self.x = x.to(device, dtype)

    def loss(self) -> torch.Tensor:
        return (self.params["weight"] @ self.x + self.params["bias"]).square().sum()

    def backward(self, sign: float = 1.0) -> torch.Tensor:
        for param in self.params.values():
            param.grad = None
        loss = self.loss()
        (sign * loss).backward()
        return loss.detach()

    def values(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.params.values()]


def laid_out(weight: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "transposed":
        return weight.t().contiguous().t()
    if layout == "strided":
        wide = torch.zeros(*weight.shape[:-1], 2 * weight.shape[-1], dtype=weight.dtype, device=weight.device)
        wide[..., ::2] = weight
        return wide[..., ::2]
    return weight


def given(entry: Entry, params: dict[str, torch.Tensor]) -> list[Any]:
    return list(params.items()) if entry.named else list(params.values())


def build(entry: Entry, params: Any, **overrides: Any) -> Optimizer:
    params = given(entry, params) if isinstance(params, dict) else params
    return entry.make(params, **{"lr": entry.lr, **entry.options, **overrides})


def start(entry: Entry, device: str, **overrides: Any) -> tuple[Problem, Optimizer]:
    problem = Problem(device)
    return problem, build(entry, problem.params, **overrides)


def step(entry: Entry, optimizer: Optimizer, *closure: Callable[[], Any]) -> Any:
    return optimizer.step(*closure, **entry.arguments(optimizer))


def train(entry: Entry, pair: tuple[Problem, Optimizer], steps: int = 5) -> list[torch.Tensor]:
    problem, optimizer = pair
    for _ in range(steps):
        problem.backward()
        step(entry, optimizer)
    return problem.values()


def same_bits(first: Any, second: Any) -> None:
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def same_state(first: Any, second: Any, path: str = "state_dict") -> None:
    """Recursive equality of state dicts, with tensors compared bit for bit and types kept."""
    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        same_bits(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second), path
        for key in first:
            same_state(first[key], second[key], f"{path}[{key!r}]")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for i, pair in enumerate(zip(first, second, strict=True)):
            same_state(*pair, f"{path}[{i}]")
    else:
        assert first == second, path


def saved(content: Any) -> Any:
    """Through a file and back, with nothing but tensors and plain containers allowed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def resumed(entry: Entry, pair: tuple[Problem, Optimizer], state: Any) -> tuple[Problem, Optimizer]:
    problem = copy.deepcopy(pair[0])
    optimizer = build(entry, problem.params)
    optimizer.load_state_dict(state)
    return problem, optimizer


# ---- torch's list


@listed(TORCH_LIST)
def constructor_refuses_bad_arguments(entry: Entry, device: str) -> None:
    param = torch.nn.Parameter(torch.ones(1, 1, device=device))
    with pytest.raises(TypeError):
        build(entry, param)
    with pytest.raises(ValueError, match="empty"):
        build(entry, [])
    one = ("w", param) if entry.named else param
    with pytest.raises(ValueError, match="more than one parameter group"):
        build(entry, [{"params": [one]}, {"params": [one]}])
    with pytest.raises(ValueError, match="lr"):
        build(entry, [one], lr=torch.tensor([0.1, 0.1]))
    for name, value in entry.bad:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the name is checked below
            build(entry, [one], **{name: value})
        words = {"lr": ("lr", "learning rate")}.get(name, (name, name.split("_")[-1]))
        message = str(caught.value)
        assert any(word in message for word in words), f"{name}={value!r}: {message}"
        assert "\n" not in message


@listed(TORCH_LIST)
def loss_falls(entry: Entry, device: str) -> None:
    for layout in ("contiguous", "strided"):
        problem = Problem(device, layout=layout)
        first = problem.loss().item()
        train(entry, (problem, build(entry, problem.params)), 50)
        assert problem.loss().item() < 0.5 * first


@listed(TORCH_LIST)
def loss_falls_with_schedulers(entry: Entry, device: str) -> None:
    for schedule in (
        lambda opt: StepLR(opt, gamma=0.9, step_size=10),
        lambda opt: LinearLR(opt, start_factor=0.4, total_iters=4),
        lambda opt: ExponentialLR(opt, gamma=0.99),
        ReduceLROnPlateau,
    ):
        problem, optimizer = start(entry, device)
        first, scheduler = problem.loss().item(), schedule(optimizer)
        for _ in range(60):
            loss = problem.backward()
            step(entry, optimizer)
            scheduler.step(*([loss] if isinstance(scheduler, ReduceLROnPlateau) else []))
        assert problem.loss().item() < 0.5 * first


@listed(TORCH_LIST)
def tensor_lr_equals_float_lr(entry: Entry, device: str) -> None:
    expected = train(entry, start(entry, device), 10)
    for shape in ((), (1,)):
        lr = torch.full(shape, entry.lr, dtype=torch.float64)
        torch.testing.assert_close(train(entry, start(entry, device, lr=lr), 10), expected)


@listed(TORCH_LIST)
def complex_equals_pairs_of_reals(entry: Entry, device: str) -> None:
    generator = torch.Generator().manual_seed(3)
    numbers = torch.randn(7, 4, 3, 2, generator=generator).to(device)
    whole = {"w": torch.nn.Parameter(torch.view_as_complex(numbers[0].clone()))}
    pairs = {"w": torch.nn.Parameter(numbers[0].clone())}
    optimizers = build(entry, whole), build(entry, pairs)
    for grad in numbers[1:]:
        whole["w"].grad, pairs["w"].grad = torch.view_as_complex(grad.clone()), grad.clone()
        for optimizer in optimizers:
            step(entry, optimizer)
    torch.testing.assert_close(torch.view_as_real(whole["w"].detach()), pairs["w"].detach())


@listed(TORCH_LIST)
def foreach_equals_the_plain_loop(entry: Entry, device: str) -> None:
    assert "foreach" not in entry.options
    runs = [train(entry, start(entry, device, foreach=foreach), 10) for foreach in (True, False)]
    torch.testing.assert_close(*runs, rtol=1e-6, atol=1e-7)


@listed(TORCH_LIST)
def maximize_is_descent_on_the_negated_loss(entry: Entry, device: str) -> None:
    expected, optimizer = start(entry, device)
    for _ in range(10):
        expected.backward(sign=-1.0)
        step(entry, optimizer)
    same_bits(train(entry, start(entry, device, maximize=True), 10), expected.values())


@listed(TORCH_LIST)
def groups_have_their_own_settings(entry: Entry, device: str) -> None:
    problem = Problem(device)
    weight, bias = ({"params": given(entry, {n: p})} for n, p in problem.params.items())
    optimizer = build(entry, [weight, {**bias, "lr": 0.0}])
    before = problem.values()
    assert [group["lr"] for group in optimizer.param_groups] == [entry.lr, 0.0]
    after = train(entry, (problem, optimizer))
    same_bits(after[1], before[1])
    assert not torch.equal(after[0], before[0])


@listed(TORCH_LIST)
def a_missing_gradient_means_no_step(entry: Entry, device: str) -> None:
    problem, optimizer = start(entry, device)
    before = problem.values()
    step(entry, optimizer)
    same_bits(problem.values(), before)
    problem.backward()
    problem.params["bias"].grad = None
    step(entry, optimizer)
    same_bits(problem.values()[1], before[1])
    assert not torch.equal(problem.values()[0], before[0])


@listed(TORCH_LIST)
def a_zero_gradient_means_no_step(entry: Entry, device: str) -> None:
    problem = Problem(device)
    no_decay = {"weight_decay": 0.0} if "weight_decay" in entry.options else {}
    optimizer = build(entry, problem.params, **no_decay)
    before = problem.values()
    for _ in range(3):
        for param in problem.params.values():
            param.grad = torch.zeros_like(param)
        step(entry, optimizer)
    same_bits(problem.values(), before)


@listed(TORCH_LIST)
def repr_shows_the_hyperparameters(entry: Entry, device: str) -> None:
    _, optimizer = start(entry, device)
    shown = repr(optimizer)
    assert type(optimizer).__name__ in shown
    assert "Parameter Group 0" in shown
    assert f"lr: {entry.lr}" in shown


@listed(TORCH_LIST)
def state_dict_round_trip_unnamed(entry: Entry, device: str) -> None:
    problem = Problem(device)
    optimizer = build(entry, list(problem.params.values()))
    train(entry, (problem, optimizer))
    other = build(entry, list(Problem(device).params.values()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    same_state(other.state_dict(), optimizer.state_dict())


@listed(TORCH_LIST)
def state_dict_round_trip_named(entry: Entry, device: str) -> None:
    problem = Problem(device)
    optimizer = build(entry, list(problem.params.items()))
    train(entry, (problem, optimizer))
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    other = build(entry, list(Problem(device).params.items()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    same_state(other.state_dict(), optimizer.state_dict())


@listed(TORCH_LIST)
def state_dict_survives_weights_only_loading(entry: Entry, device: str) -> None:
    pair = start(entry, device)
    train(entry, pair)
    same_state(saved(pair[1].state_dict()), pair[1].state_dict())


@listed(TORCH_LIST)
def hooks_run_in_order(entry: Entry, device: str) -> None:
    problem, optimizer = start(entry, device)
    seen: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(lambda *_: seen.append("before step")),
        optimizer.register_step_post_hook(lambda *_: seen.append("after step")),
        optimizer.register_state_dict_pre_hook(lambda *_: seen.append("before saving")),
        optimizer.register_state_dict_post_hook(lambda *_: seen.append("after saving")),
        optimizer.register_load_state_dict_pre_hook(lambda *_: seen.append("before loading")),
        optimizer.register_load_state_dict_post_hook(lambda *_: seen.append("after loading")),
    ]
    train(entry, (problem, optimizer), 1)
    optimizer.load_state_dict(optimizer.state_dict())
    actions = ("step", "saving", "loading")
    assert seen == [f"{when} {action}" for action in actions for when in ("before", "after")]
    for handle in handles:
        handle.remove()
    train(entry, (problem, optimizer), 1)
    assert len(seen) == 6


@listed(TORCH_LIST)
def deepcopy_is_equal_and_apart(entry: Entry, device: str) -> None:
    pair = start(entry, device)
    train(entry, pair)
    problem, optimizer = copy.deepcopy(pair)
    same_state(optimizer.state_dict(), pair[1].state_dict())
    before = problem.values()
    train(entry, pair)
    same_bits(problem.values(), before)
    assert all(p in set(problem.params.values()) for g in optimizer.param_groups for p in g["params"])


# ---- beyond torch's list


@listed(BEYOND)
def a_closure_runs_once_with_gradients_and_its_loss_comes_back(entry: Entry, device: str) -> None:
    problem, optimizer = start(entry, device)
    calls = []

    def closure() -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        return problem.backward()

    expected = train(entry, start(entry, device), 1)
    loss = step(entry, optimizer, closure)
    assert calls == [True]
    same_bits(loss, Problem(device).loss().detach())
    same_bits(problem.values(), expected)


@listed(BEYOND)
def two_runs_have_the_same_bits(entry: Entry, device: str) -> None:
    same_bits(train(entry, start(entry, device), 20), train(entry, start(entry, device), 20))


@listed(BEYOND)
def a_resumed_run_has_the_same_bits(entry: Entry, device: str) -> None:
    pair = start(entry, device)
    train(entry, pair)
    again = resumed(entry, pair, saved(pair[1].state_dict()))
    same_bits(train(entry, again, 7), train(entry, pair, 7))


@listed(BEYOND)
def a_deepcopy_continues_with_the_same_bits(entry: Entry, device: str) -> None:
    pair = start(entry, device)
    train(entry, pair)
    same_bits(train(entry, copy.deepcopy(pair), 7), train(entry, pair, 7))


@listed(BEYOND)
def a_pickle_continues_with_the_same_bits(entry: Entry, device: str) -> None:
    pair = start(entry, device)
    train(entry, pair)
    again = pickle.loads(pickle.dumps(pair))
    same_bits(train(entry, again, 7), train(entry, pair, 7))


@listed(BEYOND)
def parameters_may_be_empty(entry: Entry, device: str) -> None:
    problem = Problem(device)
    problem.params["empty"] = torch.nn.Parameter(torch.zeros(0, 3, device=device))
    optimizer = build(entry, problem.params)
    for _ in range(3):
        problem.backward()
        problem.params["empty"].grad = torch.zeros(0, 3, device=device)
        step(entry, optimizer)
    assert not torch.equal(problem.values()[0], Problem(device).values()[0])
    assert all(bool(torch.isfinite(value).all()) for value in problem.values())


@listed(BEYOND)
def frozen_parameters_stay_and_get_no_state(entry: Entry, device: str) -> None:
    problem = Problem(device)
    problem.params["bias"].requires_grad_(False)
    optimizer = build(entry, problem.params)
    before = problem.values()
    after = train(entry, (problem, optimizer))
    same_bits(after[1], before[1])
    assert problem.params["bias"] not in optimizer.state
    assert not torch.equal(after[0], before[0])


@listed(BEYOND)
def a_shared_parameter_moves_once_by_its_summed_gradient(entry: Entry, device: str) -> None:
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        tied[0].weight.copy_(torch.arange(9.0).view(3, 3) / 10)
    tied[1].weight = tied[0].weight
    tied.to(device)
    alone = {"0.weight": torch.nn.Parameter(tied[0].weight.detach().clone())}
    optimizers = build(entry, dict(tied.named_parameters())), build(entry, alone)
    for _ in range(3):
        tied.zero_grad()
        tied(torch.ones(1, 3, device=device)).square().sum().backward()
        alone["0.weight"].grad = tied[0].weight.grad.clone()
        for optimizer in optimizers:
            step(entry, optimizer)
    assert tied[1].weight is tied[0].weight
    same_bits(tied[0].weight.detach(), alone["0.weight"].detach())


@listed(BEYOND)
def strides_do_not_change_the_path(entry: Entry, device: str) -> None:
    expected = train(entry, start(entry, device), 10)
    problem = Problem(device, layout="strided")
    assert not problem.params["weight"].is_contiguous()
    torch.testing.assert_close(train(entry, (problem, build(entry, problem.params)), 10), expected)


@listed(BEYOND)
def transposition_does_not_change_the_path(entry: Entry, device: str) -> None:
    expected = train(entry, start(entry, device), 10)
    problem = Problem(device, layout="transposed")
    assert not problem.params["weight"].is_contiguous()
    torch.testing.assert_close(train(entry, (problem, build(entry, problem.params)), 10), expected)


@listed(BEYOND)
def gradients_are_not_modified(entry: Entry, device: str) -> None:
    for overrides in ({}, {"maximize": True}) if "maximize" in start(entry, device)[1].defaults else ({},):
        problem, optimizer = start(entry, device, **overrides)
        for _ in range(3):
            problem.backward()
            grads = {name: (p.grad, p.grad.clone()) for name, p in problem.params.items()}
            step(entry, optimizer)
            for name, (grad, before) in grads.items():
                assert problem.params[name].grad is grad
                same_bits(grad, before)


@listed(BEYOND)
def global_random_state_is_left_alone(entry: Entry, device: str) -> None:
    pair = start(entry, device)
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    train(entry, pair)
    same_bits(torch.random.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    torch.manual_seed(1)
    first = train(entry, start(entry, device))
    torch.manual_seed(2)
    same_bits(train(entry, start(entry, device)), first)


@listed(BEYOND)
def a_rate_of_zero_does_not_move(entry: Entry, device: str) -> None:
    pair = start(entry, device, lr=0.0)
    before = pair[0].values()
    same_bits(train(entry, pair), before)


@listed(BEYOND)
def a_scheduler_reaches_the_step(entry: Entry, device: str) -> None:
    problem, optimizer = start(entry, device)
    scheduler = LambdaLR(optimizer, lambda epoch: 1.0 if epoch < 2 else 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            before = problem.values()
            train(entry, (problem, optimizer), 1)
            assert not torch.equal(problem.values()[0], before[0])
            scheduler.step()
    before = problem.values()
    train(entry, (problem, optimizer), 1)
    same_bits(problem.values(), before)


@listed(BEYOND)
def a_group_may_join_later(entry: Entry, device: str) -> None:
    problem = Problem(device)
    weight, bias = (given(entry, {n: p}) for n, p in problem.params.items())
    optimizer = build(entry, weight)
    before = problem.values()
    middle = train(entry, (problem, optimizer), 3)
    same_bits(middle[1], before[1])
    optimizer.add_param_group({"params": bias})
    after = train(entry, (problem, optimizer), 3)
    assert not torch.equal(after[1], middle[1])
    assert optimizer.param_groups[1]["lr"] == entry.lr


@listed(BEYOND)
def a_late_group_is_checked_too(entry: Entry, device: str) -> None:
    _, optimizer = start(entry, device)
    late = given(entry, {"late": torch.nn.Parameter(torch.zeros(1, device=device))})
    with pytest.raises(ValueError, match="lr"):
        optimizer.add_param_group({"params": late, "lr": float("nan")})
    assert len(optimizer.param_groups) == 1


@listed(BEYOND)
def double_precision_is_kept(entry: Entry, device: str) -> None:
    problem = Problem(device, torch.float64)
    after = train(entry, (problem, build(entry, problem.params)), 5)
    assert all(value.dtype == torch.float64 for value in after)
    single = train(entry, start(entry, device), 5)
    torch.testing.assert_close([value.float() for value in after], single, rtol=1e-4, atol=1e-5)
    assert not torch.equal(after[0], after[0].float().double())


@listed(BEYOND)
def bfloat16_stays_finite_and_moves(entry: Entry, device: str) -> None:
    problem = Problem(device, torch.bfloat16)
    before = problem.values()
    after = train(entry, (problem, build(entry, problem.params)), 20)
    assert all(value.dtype == torch.bfloat16 and bool(torch.isfinite(value).all()) for value in after)
    assert not torch.equal(after[0], before[0])


@listed(BEYOND)
def a_rate_that_is_not_a_number_is_refused(entry: Entry, device: str) -> None:
    with pytest.raises(ValueError, match=r"lr|learning rate"):
        start(entry, device, lr=float("nan"))


@listed(BEYOND)
def nothing_is_hung_on_parameters(entry: Entry, device: str) -> None:
    problem, optimizer = start(entry, device)
    train(entry, (problem, optimizer))
    assert all(vars(param) == {} for param in problem.params.values())
    assert set(optimizer.state) <= set(problem.params.values())
