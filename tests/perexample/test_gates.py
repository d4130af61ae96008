"""What noise cannot fake: multiplications counted, allocations watched, and the same answers under composition."""

import gc
import weakref

import perexample_models as models
import pytest
import torch
from perexample_agreement import assert_same, check_against_the_loop
from perexample_models import image_losses, next_token_losses, square_losses
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from regrad.perexample.engine import METHODS, gradient_statistics
from regrad.perexample.requests import banded_sign, clipped_mean
from regrad.perexample.rules.registry import MODULE_RULES, register_rule

FOUR = ["mean", "mean_square", "mean_sign", "norm"]
SAFE = ["mean", "mean_square", "variance", banded_sign(1e-12), "norm", clipped_mean(0.5)]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("tied", [True, False])
def test_multiplications_are_those_of_one_ordinary_step(tied):
    model, batch = models.Decoder(tied=tied), torch.randint(0, 11, (6, 9))
    gradient_statistics(model, next_token_losses, batch, FOUR)
    ordinary = flops(lambda: next_token_losses(model, batch).mean().backward())
    assert flops(lambda: gradient_statistics(model, next_token_losses, batch, FOUR)) == ordinary


class Largest(TorchDispatchMode):
    """The most elements any operator gave back."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
        return out


def largest(run):
    with Largest() as mode:
        run()
    return mode.elements


@pytest.mark.parametrize("tied", [True, False])
def test_nothing_of_size_batch_times_parameters_is_allocated(tied):
    # B x layer is 16 x 4 x 64 x 64 = 262144; the largest activation 16 x 8 x 256 = 32768.
    model, batch = models.Decoder(50, 64, layers=1, tied=tied), torch.randint(0, 50, (16, 9))
    ordinary = largest(lambda: next_token_losses(model, batch).mean().backward())
    ours = largest(lambda: gradient_statistics(model, next_token_losses, batch, FOUR))
    assert ours <= max(ordinary, 4 * 64 * 64)
    assert largest(lambda: gradient_statistics(model, next_token_losses, batch, FOUR, method="vmap")) >= 262144


def test_the_allocation_of_an_mlp_does_not_grow_with_the_batch():
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    for size in (4, 32):
        batch = torch.randn(size, 64)
        assert largest(lambda batch=batch: gradient_statistics(model, square_losses, batch, FOUR)) == 64 * 64


class Untied(nn.Module):
    def __init__(self, recompute=False, layers=2):
        super().__init__()
        self.table, self.positions = nn.Embedding(11, 8), nn.Parameter(torch.randn(8, 8))
        self.blocks = nn.ModuleList(models.Block(8) for _ in range(layers))
        self.head, self.recompute = nn.Linear(8, 11), recompute

    def forward(self, tokens):
        x = self.table(tokens) + self.positions
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return self.head(x)


def test_activation_checkpointing_gives_the_same(float64):
    model, batch = Untied(recompute=True), torch.randint(0, 11, (8, 9))
    check_against_the_loop(model, next_token_losses, batch, statistics=SAFE)


def test_checkpointing_by_reentry_is_refused_by_torch_and_not_silently_wrong(float64):
    class Reentrant(nn.Linear):
        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=True)

    model = nn.Sequential(nn.Linear(4, 4), Reentrant(4, 4))
    with pytest.raises((RuntimeError, ValueError)):
        gradient_statistics(model, square_losses, torch.randn(3, 4), ["mean"])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_agrees_with_the_loop_under_autocast(dtype, tied):
    torch.manual_seed(0)
    model, batch = models.Decoder(tied=tied), torch.randint(0, 11, (4, 9))

    def losses(model, batch):
        with torch.autocast("cpu", dtype=dtype):
            logits = model(batch[:, :-1])
        return functional.cross_entropy(logits.float().transpose(1, 2), batch[:, 1:], reduction="none").mean(1)

    statistics = ["mean", "mean_square", "norm"]
    expected = gradient_statistics(model, losses, batch, statistics, method="loop")
    answer = gradient_statistics(model, losses, batch, statistics)
    assert all(value.dtype == torch.float32 for value in answer["mean_square"].values())
    assert_same(expected, answer, rtol=0.05)


def test_micro_batches_are_exact(float64):
    model, batch = models.small_resnet(), (torch.randn(6, 3, 8, 8), torch.randint(0, 5, (6,)))
    whole = gradient_statistics(model, image_losses, batch, [*FOUR, "variance"])
    for chunk in (1, 4, 6, 100):
        assert_same(whole, gradient_statistics(model, image_losses, batch, [*FOUR, "variance"], chunk_size=chunk))


def test_nothing_is_left_on_the_model_even_after_an_error():
    model, batch = models.Decoder(), torch.randint(0, 11, (4, 9))
    before = [set(vars(module)) for module in model.modules()]
    gradient_statistics(model, next_token_losses, batch, FOUR)
    with pytest.raises(ZeroDivisionError):
        gradient_statistics(model, lambda m, b: next_token_losses(m, b) / (1 // 0), batch, FOUR)
    assert [set(vars(module)) for module in model.modules()] == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(vars(p) or p.grad is not None for p in model.parameters())


def test_models_are_not_kept_alive():
    model = nn.Linear(3, 2)
    gradient_statistics(model, square_losses, torch.randn(4, 3), ["mean"])
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return x * self.scale


def test_a_rule_for_ones_own_layer_takes_five_lines(float64):
    calls = []
    try:

        @register_rule(Scale)
        def scale(module, x, g):
            calls.append(x.shape)
            return {"scale": (g * x).sum(1)}

        model = nn.Sequential(nn.Linear(4, 4), Scale(), nn.Tanh())
        check_against_the_loop(model, square_losses, torch.randn(5, 6, 4))
        assert calls
    finally:
        MODULE_RULES.pop(Scale, None)


def test_what_follows_a_layer_with_a_rule_may_work_in_place(float64):
    try:
        register_rule(Scale)(lambda module, x, g: {"scale": (g * x).sum(1)})
        model = nn.Sequential(nn.Linear(4, 4), Scale(), nn.ReLU(inplace=True), nn.Linear(4, 2))
        check_against_the_loop(model, square_losses, torch.randn(5, 6, 4))
    finally:
        MODULE_RULES.pop(Scale, None)


def test_a_misshapen_rule_is_refused():
    try:
        register_rule(Scale)(lambda module, x, g: {"scale": (g * x).sum(0)})
        with pytest.raises(ValueError, match="missing or misshapen"):
            gradient_statistics(Scale(), square_losses, torch.randn(5, 6, 4), ["mean"])
    finally:
        MODULE_RULES.pop(Scale, None)


class OtherWayRound(nn.Linear):
    def forward(self, x):
        y = super().forward(x.transpose(0, 1).flatten(0, 1))
        return y.view(x.shape[1], x.shape[0], -1).transpose(0, 1)


class Transposed(nn.Linear):
    def forward(self, x):
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


REFUSED = {
    "batch norm": (nn.Sequential(nn.BatchNorm1d(4)), "GroupNorm"),
    "batch norm without statistics, even in eval": (nn.BatchNorm1d(4, track_running_stats=False).eval(), "GroupNorm"),
    "dropout": (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)), "different masks"),
    "dropout in attention": (nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True), "different masks"),
    "attention with examples second": (nn.MultiheadAttention(4, 2), "batch_first"),
    "renormalised table": (nn.Embedding(4, 4, max_norm=1.0), "max_norm"),
    "nothing to train": (nn.Tanh(), "no parameter"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", REFUSED)
def test_models_without_per_example_gradients_are_refused_with_the_remedy(case, method):
    model, remedy = REFUSED[case]
    with pytest.raises(ValueError, match=remedy):
        gradient_statistics(model, square_losses, torch.randn(3, 4), ["mean"], method=method)


class FunctionalBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return functional.batch_norm(x, None, None, self.weight, training=True)


class OverTheBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return torch.einsum("bi,i,ci->bc", x, self.weight, x)


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (OtherWayRound(4, 4), torch.randn(3, 5, 4), "folded"),
        (Transposed(4, 4), torch.randn(5, 5, 4), "first axis"),
        (FunctionalBatchNorm(), torch.randn(3, 4), "batch"),
        (OverTheBatch(), torch.randn(4, 4), "first axis|each example alone"),
        (nn.MultiheadAttention(4, 2, batch_first=True, add_zero_attn=True), torch.randn(3, 5, 4), "add_zero_attn"),
    ],
    ids=[
        "folded position by position",
        "transposed, as many positions as examples",
        "functional batch norm",
        "over the batch",
        "lstm",
    ],
)
def test_what_the_surgery_cannot_follow_is_refused_by_name(model, x, sentence):
    losses = square_losses if not isinstance(model, nn.MultiheadAttention) else lambda m, b: m(b, b, b)[0].sum((1, 2))
    with pytest.raises(ValueError, match=sentence):
        gradient_statistics(model, losses, x, ["mean"])


class Hidden(nn.Module):
    """A product that torch sees only as a function of one's own."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            return x * weight

        @staticmethod
        def backward(ctx, g):
            x, weight = ctx.saved_tensors
            return g * weight, (g * x).sum(0)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.Product.apply(x, self.weight)


def test_what_the_surgery_refuses_the_loop_does_as_the_message_says():
    model, x = Hidden(), torch.randn(3, 4)
    losses = lambda m, x: m(x).sum(1)  # noqa: E731
    with pytest.raises(ValueError, match=r"method='loop' takes it$"):
        gradient_statistics(model, losses, x, ["mean"])
    expected = torch.autograd.grad(losses(model, x).mean(), list(model.parameters()))
    answer = gradient_statistics(model, losses, x, ["mean"], method="loop")["mean"]
    for value, gradient in zip(answer.values(), expected, strict=True):
        torch.testing.assert_close(value, gradient)
