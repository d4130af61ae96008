"""Numbers worked out by hand, and what the boundary divides by the batch size."""

import pytest
import torch
from torch import nn

from regrad.perexample.engine import METHODS, assign_grad, gradient_statistics
from regrad.perexample.requests import clipped_mean

ALL = ["mean", "mean_square", "variance", "mean_sign", "mean_abs", "norm"]


def half_squared_error(model, batch):
    features, targets = batch
    return 0.5 * (model(features)[:, 0] - targets) ** 2


@pytest.fixture
def published():
    """From the documentation of optax.microbatching: zero parameters, unit features, targets 0 2 4 6."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    return model, (torch.ones(4, 1, dtype=torch.float64), torch.tensor([0.0, 2, 4, 6], dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS)
def test_the_published_example_gives_mean_minus_three_and_mean_square_fourteen(published, method):
    # g = w x - t = 0, -2, -4, -6: mean -12/4; squares 0+4+16+36 = 56, /4; about the mean 9+1+1+9 = 20, /3.
    model, batch = published
    answer = gradient_statistics(model, half_squared_error, batch, ALL, method=method)
    assert answer["mean"]["weight"].item() == -3
    assert answer["mean_square"]["weight"].item() == 14
    assert answer["variance"]["weight"].item() == pytest.approx(20 / 3, rel=1e-15)
    assert answer["mean_sign"]["weight"].item() == -0.75
    assert answer["mean_abs"]["weight"].item() == 3
    assert answer["norm"].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("method", METHODS)
def test_clipping_scales_each_gradient_to_the_norm_before_the_mean(published, method):
    # Clipped to 1: 0, -1, -1, -1; clipped to 5: 0, -2, -4, -5.
    model, batch = published
    wanted = {"one": clipped_mean(max_norm=1.0), "five": clipped_mean(5.0)}
    answer = gradient_statistics(model, half_squared_error, batch, wanted, method=method)
    assert answer["one"]["weight"].item() == -0.75
    assert answer["five"]["weight"].item() == pytest.approx(-11 / 4, rel=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_an_example_may_be_the_mean_of_two_neighbours(published, method):
    # Means of pairs: -1, -5: mean -3, squares 1 + 25 = 26, /2; signs -1; about the mean 4 + 4 = 8, /1.
    model, batch = published
    answer = gradient_statistics(model, half_squared_error, batch, ALL, method=method, group_size=2)
    got = {key: answer[key]["weight"].item() for key in ALL if key != "norm"}
    assert got == {"mean": -3, "mean_square": 13, "variance": 8, "mean_sign": -1, "mean_abs": 3}
    assert answer["norm"].tolist() == [1, 5]


@pytest.mark.parametrize("method", METHODS)
def test_any_elementwise_function_is_averaged_over_the_examples(published, method):
    # Cubes: 0, -8, -64, -216: -288/4. exp(0 g) counts the examples, so a function need not vanish at zero.
    model, batch = published
    wanted = {"cube": lambda g: g**3, "one": lambda g: torch.exp(0 * g)}
    answer = gradient_statistics(model, half_squared_error, batch, wanted, method=method)
    assert answer["cube"]["weight"].item() == -72
    assert answer["one"]["weight"].item() == 1


@pytest.mark.parametrize("method", METHODS)
def test_names_of_the_answer_never_meet_those_of_the_sums_inside(published, method):
    # Signs 0, -1, -1, -1; clipped to 1 likewise. torch.sign is called "sign", as is what "mean_sign" sums.
    model, batch = published
    by_name = ["mean_sign", torch.sign, "mean_square", torch.square]
    answer = gradient_statistics(model, half_squared_error, batch, by_name, method=method)
    assert list(answer) == ["mean_sign", "sign", "mean_square", "square"]
    assert [value["weight"].item() for value in answer.values()] == [-0.75, -0.75, 14, 14]
    wanted = {"sum": clipped_mean(max_norm=1.0), "mean": "mean"}
    answer = gradient_statistics(model, half_squared_error, batch, wanted, method=method)
    assert [value["weight"].item() for value in answer.values()] == [-0.75, -3]


def test_assigning_the_mean_leaves_what_backward_leaves(published):
    model, batch = published
    half_squared_error(model, batch).mean().backward()
    expected = model.weight.grad.clone()
    assign_grad(model, gradient_statistics(model, half_squared_error, batch, ["mean"])["mean"])
    assert torch.equal(model.weight.grad, expected)


def test_assigning_refuses_a_statistic_of_another_model(published):
    with pytest.raises(ValueError, match="no such parameter"):
        assign_grad(published[0], {"weight": torch.zeros(2, 2)})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"statistics": "mean"}, "a list or a mapping"),
        ({"statistics": []}, "empty"),
        ({"statistics": ["median"]}, "'median' is not one of"),
        ({"statistics": ["clipped_mean"]}, "max_norm"),
        ({"statistics": ["mean", "mean"]}, "twice"),
        ({"method": "magic"}, "method='magic'"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"group_size": True}, "group_size=True"),
        ({"group_size": 3}, "must divide the batch size 4"),
        ({"group_size": 4, "statistics": ["variance"]}, "variance divides"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(published, arguments, sentence):
    model, batch = published
    arguments = {"statistics": ["mean"], **arguments}
    with pytest.raises(ValueError, match=sentence) as error:
        gradient_statistics(model, half_squared_error, batch, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("norm", [0, -1, float("nan"), float("inf"), True])
def test_a_clipping_norm_must_be_positive_and_finite(norm):
    with pytest.raises(ValueError, match="max_norm"):
        clipped_mean(norm)


@pytest.mark.parametrize("method", METHODS)
def test_losses_that_are_already_reduced_are_refused(published, method):
    model, batch = published

    def reduced(model, batch):
        return half_squared_error(model, batch).mean()

    with pytest.raises(ValueError, match="one unreduced loss"):
        gradient_statistics(model, reduced, batch, ["mean"], method=method)
