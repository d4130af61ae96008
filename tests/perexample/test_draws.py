"""A forward pass that draws random numbers is refused; one beside which another thread draws is not."""

import random
import threading
from contextlib import contextmanager

import numpy
import pytest
import torch
from perexample_models import square_losses
from torch import nn
from torch.nn import functional

from regrad.perexample import gradient_statistics
from regrad.perexample.refusals import Refused

METHODS = ["graph", "loop", "vmap"]


class Noisy(nn.Linear):
    """A linear layer that draws, or could, by a function of torch's."""

    def __init__(self, draw):
        super().__init__(4, 4)
        self.draw = draw

    def forward(self, x):
        return self.draw(super().forward(x))


class Attention(nn.Linear):
    """The fused kernel is told its rate of dropout."""

    rate = 0.0

    def forward(self, x):
        y = super().forward(x).unflatten(-1, (1, 2, 2))
        return functional.scaled_dot_product_attention(y, y, y, dropout_p=self.rate).flatten(1)


DRAWS = {
    "dropout": lambda y: functional.dropout(y, 0.5),
    "rand": lambda y: y + torch.rand(()),
    "normal_": lambda y: y * torch.empty(4).normal_(),
    "randperm": lambda y: y[:, torch.randperm(4)],
    "bernoulli": lambda y: y * torch.bernoulli(torch.full((4,), 0.5)),
    "randint": lambda y: y * torch.randint(2, 9, ()),
    "numpy": lambda y: y * numpy.random.rand(),
    "python": lambda y: y * random.random(),
}
PURE = {
    "no dropout": lambda y: functional.dropout(y, 0.0),
    "dropout in evaluation": lambda y: functional.dropout(y, 0.5, training=False),
    "a generator of its own": lambda y: y + torch.rand((), generator=torch.Generator().manual_seed(1)),
}


@contextmanager
def drawing():
    """Meanwhile another thread draws from torch's global stream, over and over."""
    done, begun = threading.Event(), threading.Event()

    def draw():
        while not done.is_set():
            torch.rand(3)
            begun.set()

    thread = threading.Thread(target=draw)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def ask(model, method, x=None):
    x = torch.linspace(-1, 1, 20).view(5, 4) if x is None else x
    return gradient_statistics(model, square_losses, x, ["mean", "norm"], method=method)


def test_two_hundred_calls_beside_a_thread_that_draws_are_answered():
    models = [nn.Linear(4, 4), Noisy(PURE["no dropout"]), Attention(4, 4), Noisy(PURE["a generator of its own"])]
    right = [ask(model, "loop")["norm"] for model in models]
    with drawing():
        for call in range(200):
            # A copy has not been probed before.
            model, expected = models[call % 4], right[call % 4]
            copy = type(model)(4, 4) if not isinstance(model, Noisy) else Noisy(model.draw)
            copy.load_state_dict(model.state_dict())
            torch.testing.assert_close(ask(copy, METHODS[call % 2])["norm"], expected)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("method", ["graph", "loop"])
@pytest.mark.parametrize("draw", DRAWS)
def test_a_forward_pass_that_draws_is_refused_whoever_else_does(draw, method, beside):
    if not beside:
        with pytest.raises(Refused, match="draws random numbers"):
            ask(Noisy(DRAWS[draw]), method)
        return
    with drawing(), pytest.raises(Refused, match="draws random numbers"):
        ask(Noisy(DRAWS[draw]), method)


def test_dropout_inside_fused_attention_is_refused():
    model = Attention(4, 4)
    model.rate = 0.5
    with pytest.raises(ValueError, match="draws random numbers"):
        ask(model, "graph")


@pytest.mark.parametrize("pure", PURE)
@pytest.mark.parametrize("method", ["graph", "loop"])
def test_what_could_draw_and_does_not_is_answered(method, pure):
    ask(Noisy(PURE[pure]), method)


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), numpy.random.rand, random.random])
@pytest.mark.parametrize("method", METHODS)
def test_another_thread_that_draws_once_is_no_reason_to_refuse(method, draw):
    calls = []

    def elsewhere(y):
        if not calls:
            thread = threading.Thread(target=draw)
            thread.start()
            thread.join()
        calls.append(1)
        return y

    ask(Noisy(elsewhere), method)
    assert len(calls) > 1
