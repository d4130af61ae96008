"""What models of strangers do: each case answered wrongly, or with a message that led nowhere, before it stood here."""

import random
from collections import UserDict
from functools import partial
from threading import Thread

import numpy
import pytest
import torch
from perexample_agreement import assert_same, check_against_the_loop
from perexample_models import square_losses
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from regrad.perexample.engine import METHODS, assign_grad, gradient_statistics
from regrad.perexample.refusals import Refused

pytestmark = pytest.mark.usefixtures("float64")

SAFE = ["mean", "mean_square", "norm"]


def norms(model, losses, batch, method="graph"):
    return gradient_statistics(model, losses, batch, ["norm"], method=method)["norm"]


# A. Gradients that leave the surgery.


class StraightThrough(nn.Linear):
    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, g):
            return g

    def forward(self, x):
        return functional.linear(x, self.Round.apply(self.weight), self.bias)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.mixing = nn.Linear(4, 6), nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return torch.fft.irfft(torch.einsum("bi,io->bo", torch.fft.rfft(self.first(x)), self.mixing.to(torch.cdouble)))


def test_a_weight_that_came_by_an_unseen_function_is_refused_and_never_a_constant():
    with pytest.raises(Refused, match=r"weight|bias.*method='loop'"):
        norms(StraightThrough(4, 4), square_losses, torch.randn(5, 4))


def test_complex_activations_pass_their_gradients_on():
    check_against_the_loop(Complex(), square_losses, torch.randn(5, 4), statistics=SAFE)


class Recomputed(nn.Module):
    def __init__(self, body, *, reentrant, frozen=False):
        super().__init__()
        self.first, self.body, self.reentrant = nn.Linear(4, 4).requires_grad_(not frozen), body, reentrant

    def forward(self, x):
        return checkpoint(self.body, self.first(x).requires_grad_(), use_reentrant=self.reentrant)


@pytest.mark.parametrize("method", ["graph", "loop"])
@pytest.mark.parametrize("frozen", [True, False])
def test_reentrant_checkpointing_is_refused_with_the_remedy(method, frozen):
    model = Recomputed(nn.Linear(4, 4), reentrant=True, frozen=frozen)
    with pytest.raises(Refused, match="use_reentrant=False"):
        norms(model, square_losses, torch.randn(5, 4), method)


class Modulated(nn.Module):
    """Weights computed from parameters inside a block that is computed again."""

    def __init__(self):
        super().__init__()
        self.inner, self.scale, self.norm = nn.Linear(4, 4), nn.Parameter(torch.randn(4)), nn.RMSNorm(4)
        self.places = nn.Embedding(4, 4)

    def forward(self, x):
        return self.norm(self.inner(x) * torch.sin(self.scale) + functional.softplus(self.places(torch.arange(4))[1]))


def test_weights_computed_in_a_block_that_is_computed_again_agree():
    body = nn.Sequential(Modulated(), parametrizations.weight_norm(nn.Linear(4, 4)), Modulated())
    check_against_the_loop(Recomputed(body, reentrant=False), square_losses, torch.randn(5, 4), statistics=SAFE)


class LastState(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return self.inner(x)[0]


def test_a_recurrent_layer_in_a_block_that_is_computed_again_agrees():
    model = Recomputed(LastState(), reentrant=False)
    check_against_the_loop(model, square_losses, torch.randn(5, 3, 4), statistics=SAFE)


# B. Examples that see each other, or change places.


class Sorted(nn.Linear):
    def forward(self, x):
        order = x[:, 0].argsort(descending=True)
        return super().forward(x[order])[order.argsort()]


def in_batch_negatives(model, x):
    z = functional.normalize(model(x), dim=1)
    return functional.cross_entropy(z @ z.T, torch.arange(len(x)), reduction="none")


DEPENDENT = {
    "in-batch negatives": in_batch_negatives,
    "less the batch's mean": lambda m, x: (m(x) - m(x).mean(0)).square().sum(1),
    "less the batch's mean, detached": lambda m, x: (m(x) - m(x).mean(0).detach()).square().sum(1),
    "mixed up": lambda m, x: m(0.7 * x + 0.3 * x.roll(1, 0)).square().sum(1),
}


@pytest.mark.parametrize("case", DEPENDENT)
@pytest.mark.parametrize("size", [2, 3, 8])
def test_losses_in_which_examples_see_each_other_are_refused(case, size):
    model = nn.Linear(4, 4)
    # A batch of one has nothing to see, and must not vouch for the others.
    one = torch.randn(1, 4)
    torch.testing.assert_close(norms(model, DEPENDENT[case], one), norms(model, DEPENDENT[case], one, "loop"))
    with pytest.raises(Refused, match=r"gradient through others|depends on them"):
        norms(model, DEPENDENT[case], torch.randn(size, 4))


@pytest.mark.parametrize("size", [2, 8])
def test_examples_that_change_places_are_refused(size):
    # In order as they come, as a collator may leave them: only another order shows what the model does.
    x = torch.randn(size, 4).sort(0, descending=True)[0]
    with pytest.raises(Refused, match=r"change places.*method='loop'"):
        norms(Sorted(4, 4), square_losses, x)


# C. A forward pass that is not a function.


class FunctionalDropout(nn.Linear):
    def forward(self, x):
        return functional.dropout(super().forward(x), 0.5, self.training)


class Masked(nn.Linear):
    """Masked by a stream that is not torch's, as wav2vec 2.0 and its kin are by numpy's."""

    stream = numpy.random

    def forward(self, x):
        return super().forward(x) * self.stream.random()


class Skipped(Masked):
    stream = random


class Following(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        self.mean.lerp_(x.detach().mean(0), 0.1)
        return super().forward(x - self.mean)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [FunctionalDropout, Masked, Skipped, Following])
def test_a_forward_pass_with_noise_or_a_state_is_refused(method, rate):
    model = rate() if rate is Following else rate(4, 4)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    stream = torch.get_rng_state()
    others = random.getstate(), numpy.random.get_state(legacy=False)["state"]["pos"]
    with pytest.raises((Refused, RuntimeError), match=r"draws random|changes this buffer|random|in-?place"):
        norms(model, square_losses, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), method)
    assert others == (random.getstate(), numpy.random.get_state(legacy=False)["state"]["pos"])
    if method != "vmap":
        assert torch.equal(stream, torch.get_rng_state())
        assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    norms(model.eval(), square_losses, torch.randn(6, 4), method) if rate is FunctionalDropout else None


@pytest.mark.parametrize("method", METHODS)
def test_spectral_norm_is_refused_in_training_and_exact_in_evaluation(method):
    model, x = parametrizations.spectral_norm(nn.Linear(4, 3)), torch.randn(5, 4)
    with pytest.raises(Refused, match="buffer"):
        norms(model, square_losses, x, method)
    check_against_the_loop(model.eval(), square_losses, x, method=method, statistics=SAFE)
    hooked = nn.utils.spectral_norm(nn.Linear(4, 3)).eval()
    check_against_the_loop(hooked, square_losses, x, method=method, statistics=SAFE)


class Table(nn.Linear):
    """A buffer that is made at the first call."""

    def forward(self, x):
        if not hasattr(self, "table"):
            self.register_buffer("table", torch.arange(4.0))
        return super().forward(x + self.table)


@pytest.mark.parametrize("method", METHODS)
def test_a_buffer_made_at_the_first_call_is_no_state(method):
    assert norms(Table(4, 4), square_losses, torch.randn(5, 4), method).all()


# D. Batches that are not plain tensors.


class Encoding(UserDict):
    """As a tokenizer gives it."""

    def __getattr__(self, name):
        if name == "data":
            raise AttributeError(name)
        return self.data[name]


@pytest.mark.parametrize("method", METHODS)
def test_a_tokenizer_s_mapping_is_taken(method):
    batch = Encoding({"x": torch.randn(5, 4), "weights": (torch.rand(5),)})
    losses = lambda m, b: square_losses(m, b.x) * b.weights[0]  # noqa: E731
    plain = lambda m, b: square_losses(m, b[0]) * b[1]  # noqa: E731
    model = nn.Linear(4, 4)
    expected = norms(model, plain, (batch["x"], batch.weights[0]), "loop")
    torch.testing.assert_close(norms(model, losses, batch, method), expected)


def test_a_list_of_one_entry_an_example_is_cut_with_the_tensors():
    model, x, names = nn.Linear(4, 4), torch.randn(5, 4), ["a", "b", "b", "a", "c"]
    factors = {"a": 1.0, "b": 2.0, "c": 3.0}
    losses = lambda m, b: square_losses(m, b[0]) * torch.tensor([factors[name] for name in b[1]])  # noqa: E731
    expected = norms(model, square_losses, x) * torch.tensor([factors[name] for name in names])
    for method in ("graph", "loop"):
        torch.testing.assert_close(norms(model, losses, (x, names), method), expected)
    torch.testing.assert_close(gradient_statistics(model, losses, (x, names), ["norm"], chunk_size=2)["norm"], expected)
    with pytest.raises(Refused, match="list of 5"):
        norms(model, losses, (x, names), "vmap")


@pytest.mark.parametrize("extra", [["a", "b"], torch.randn(5, 3).numpy()])
def test_what_cannot_be_cut_is_refused_by_name(extra):
    with pytest.raises(ValueError, match=r"list of 2|ndarray"):
        norms(nn.Linear(4, 4), square_losses, (torch.randn(5, 4), extra))


def test_targets_that_the_losses_close_over_are_refused_with_the_remedy():
    targets = torch.randint(0, 4, (6,))
    losses = lambda m, x: functional.cross_entropy(m(x), targets, reduction="none")  # noqa: E731
    with pytest.raises(Refused, match="must be a part of the batch"):
        norms(nn.Linear(4, 4), losses, torch.randn(6, 4))


def test_losses_that_are_reduced_are_refused_with_the_caller_s_number():
    with pytest.raises(ValueError, match=r"\[4\], is required"):
        norms(nn.Linear(4, 4), lambda m, x: m(x).sum(), torch.randn(4, 4))


def test_losses_may_be_any_callable_and_a_switch_they_close_over_counts():
    class Unhashable:
        __hash__ = None

        def __call__(self, model, x):
            return square_losses(model, x)

    model, x = nn.Linear(4, 4), torch.randn(6, 4)
    assert torch.equal(norms(model, Unhashable(), x), norms(model, partial(square_losses), x))

    def losses(mixing):
        return lambda m, x: square_losses(m, x - x.mean(0) if mixing else x)

    norms(model, losses(False), x)
    with pytest.raises(Refused, match="depends on them"):
        norms(model, losses(True), x)


# G. The number of examples is nothing to a model that has three of something.


class Three(nn.Module):
    """Three learned queries, and an orthogonal matrix of three rows; the probe must not take them for examples."""

    def __init__(self, count):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, 4))
        self.rows = parametrizations.orthogonal(nn.Linear(4, count))

    def forward(self, x):
        return self.rows((self.queries @ x.transpose(1, 2)).softmax(-1) @ x)


@pytest.mark.parametrize("count", [3, 5, 7, 15])
@pytest.mark.parametrize("size", [3, 5])
def test_any_number_of_anything_in_a_model_is_fine(count, size):
    check_against_the_loop(Three(count), square_losses, torch.randn(size, 2, 4), statistics=SAFE, rtol=1e-10)


# H and W8, C: precision, complex parameters, messages.


@pytest.mark.parametrize("method", METHODS)
def test_complex_parameters_are_refused(method):
    model = nn.Linear(4, 4, dtype=torch.cdouble)
    with pytest.raises(ValueError, match="complex parameter"):
        norms(model, lambda m, x: m(x).abs().sum(1), torch.randn(3, 4, dtype=torch.cdouble), method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("positions", [(), (3,)])
def test_a_variance_survives_a_mean_of_ten_thousand_deviations_in_float32(method, positions):
    model = nn.Linear(4, 3).float()
    x = (1 + 1e-4 * torch.randn(64, *positions, 4)).float()
    losses = lambda m, x: 50 * (m(x) * torch.arange(1, 4)).flatten(1).sum(1)  # noqa: E731
    found = gradient_statistics(model, losses, x, ["mean", "variance"], method=method)["variance"]["weight"]
    exact = gradient_statistics(model.double(), losses, x.double(), ["variance"], method="loop")["variance"]["weight"]
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=0)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("autocast", [True, False])
def test_rms_norm_without_eps_is_as_accurate_as_the_loop_in_half_precision(dtype, scale, autocast):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.RMSNorm(64)).float()
    x, target = scale * torch.randn(4, 5, 64).float(), torch.randn(64).float()
    exact = norms(model.double(), lambda m, x: (m(x) * target.double()).square().sum((1, 2)), x.double(), "loop")
    model = model.float() if autocast else model.to(dtype)

    def losses(model, x):
        with torch.autocast("cpu", dtype, enabled=autocast):
            return (model(x if autocast else x.to(dtype)).float() * target).square().sum((1, 2))

    torch.testing.assert_close(norms(model, losses, x).double(), exact, rtol=0.02, atol=0)


def test_group_norm_after_a_layer_in_half_precision_is_as_accurate_as_the_loop_under_autocast():
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.GroupNorm(2, 6), nn.Tanh()).float()

    def losses(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            return square_losses(model, x).float()

    x = torch.randn(5, 4, 9).float()
    torch.testing.assert_close(norms(model, losses, x), norms(model, square_losses, x, "loop"), rtol=0.05, atol=0)


def test_what_works_in_place_after_a_linear_layer_agrees():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4))
    check_against_the_loop(model, square_losses, torch.randn(5, 3, 4), statistics=SAFE)


def test_losses_that_differentiate_on_the_way_are_refused_with_the_remedy():
    def penalty(model, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return slope.square().sum(1)

    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    with pytest.raises(Refused, match=r"differentiate on the way.*method='loop'"):
        norms(model, penalty, torch.randn(5, 4))
    assert norms(model, penalty, torch.randn(5, 4), "loop").all()


class LearnedState(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.start = nn.GRUCell(4, 6), nn.Parameter(torch.randn(1, 6))

    def forward(self, x):
        state = self.start.expand(len(x), -1)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state


@pytest.mark.parametrize("size", [1, 5])
def test_a_learned_state_in_a_last_chunk_of_one_example_agrees(size):
    check_against_the_loop(LearnedState(), square_losses, torch.randn(size, 3, 4), statistics=SAFE, chunk_size=4)


def test_a_scripted_layer_does_not_break_the_others():
    scripted = torch.jit.script(nn.Linear(4, 4).requires_grad_(False))
    check_against_the_loop(nn.Sequential(nn.Linear(4, 4), scripted), square_losses, torch.randn(5, 4), statistics=SAFE)


# I. Hooks, memory, threads.


def test_a_parameter_s_own_hook_is_honoured_by_the_loop_and_refused_by_the_others():
    model, x = nn.Linear(4, 4), torch.randn(5, 4)
    model.weight.register_hook(lambda g: g * 0)
    model.bias.requires_grad_(False)
    assert not norms(model, square_losses, x, "loop").any()
    for method in ("graph", "vmap"):
        with pytest.raises(Refused, match=r"register_hook.*method='loop' takes it$"):
            norms(model, square_losses, x, method)


def test_the_gradient_assigned_shares_no_memory_with_the_statistic():
    model = nn.Linear(4, 4)
    mean = gradient_statistics(model, square_losses, torch.randn(5, 4), ["mean"])["mean"]
    before = mean["weight"].clone()
    assign_grad(model, mean)
    model.weight.grad.zero_()
    assert torch.equal(mean["weight"], before)


@pytest.mark.parametrize(
    ("shared", "calls"), [(True, 15), (False, 15), pytest.param(False, 1000, marks=pytest.mark.slow)]
)
def test_two_threads_do_not_disturb_each_other(shared, calls):
    models = [nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.PReLU()) for _ in range(2)]
    x, wrong = torch.randn(6, 3, 4), []
    expected = [gradient_statistics(m, square_losses, x, SAFE, method="loop") for m in models]

    def work(index):
        model, right = models[0 if shared else index], expected[0 if shared else index]
        for call in range(calls):
            try:
                chunk = 6 if call % 2 else 2
                assert_same(right, gradient_statistics(model, square_losses, x, SAFE, chunk_size=chunk))
            except Exception as error:  # noqa: BLE001 (of any kind)
                wrong.append(error)

    threads = [Thread(target=work, args=(index,)) for index in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
