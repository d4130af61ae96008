"""Graph surgery and vmap against the loop in float64, layer by layer and in small whole models."""

import perexample_models as models
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perexample_agreement import check_against_the_loop
from perexample_models import image_losses, next_token_losses, square_losses
from torch import nn
from torch.nn import functional

from regrad.perexample.requests import banded_sign, clipped_mean

# On attention "mean_sign" is rounding noise for the key bias; everything else must agree.
WITH_ATTENTION = ["mean", "mean_square", "variance", banded_sign(1e-12), "mean_abs", "norm", clipped_mean(0.5)]

pytestmark = pytest.mark.usefixtures("float64")


class Positions(nn.Module):
    """Bare parameters in the ways models use them."""

    def __init__(self, length=7, width=4):
        super().__init__()
        self.table = nn.Parameter(torch.randn(length, width))
        self.scale, self.shift = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(1, 1, width))
        self.gain = nn.Parameter(torch.randn(()))
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.log = nn.Parameter(torch.randn(width))

    def forward(self, x):
        x = x + self.table[: x.shape[1]]
        x = torch.cat([self.token.expand(len(x), -1, -1), x * self.scale - self.shift], 1)
        return ((x + x.mean(1, keepdim=True)) * self.gain).tanh() / functional.softplus(self.log)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x):
        return self.layer(self.norm(self.layer(self.norm(x)).tanh()))


class PositionTable(nn.Module):
    """A table read at positions, not at examples: what it gives is the same for all of them."""

    def __init__(self):
        super().__init__()
        self.places, self.out = nn.Embedding(8, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out((x + self.places(torch.arange(x.shape[1]))).tanh())


class WeightNormed(nn.Module):
    """A weight computed from two parameters."""

    def __init__(self):
        super().__init__()
        self.g, self.v = nn.Parameter(torch.randn(3, 1)), nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return functional.linear(x, self.g * self.v / self.v.norm(dim=1, keepdim=True))


class Mixer(nn.Module):
    """A matrix on either side of the examples, and one shared by slices."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(4, 8))

    def forward(self, x):
        return self.left @ (x @ self.right[:, :4]).tanh() @ self.right


class Attention(nn.Module):
    def __init__(self, cross=False, **options):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True, **options)
        self.cross = cross

    def forward(self, x):
        other = x.flip(1).tanh()[:, :3] if self.cross else x
        padding = torch.zeros(len(x), other.shape[1], dtype=torch.bool)
        padding[:, -1] = True
        return self.attend(x, other, other, key_padding_mask=padding, need_weights=False)[0]


class Folded(nn.Module):
    """Windows of an image, and a bias for each: examples share the first axis with them."""

    def __init__(self):
        super().__init__()
        self.qkv, self.norm, self.bias = nn.Linear(3, 9, bias=False), nn.LayerNorm(3), nn.Parameter(torch.randn(4, 3))
        self.conv, self.group = nn.Conv1d(3, 4, 2), nn.GroupNorm(2, 4)
        self.slope, self.attend = nn.PReLU(4), nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
        self.table, self.gain = nn.Embedding(5, 3), nn.Parameter(torch.randn(3))

    def forward(self, x):
        windows = x.view(-1, 4, 3)  # [B·k, 4, 3]
        q, k, v = self.qkv(self.norm(windows) + self.bias).chunk(3, -1)
        y = functional.scaled_dot_product_attention(q, k, v) * self.gain + self.table(torch.arange(4))
        y = self.slope(self.group(self.conv(y.transpose(1, 2))))
        y = self.attend(*[y.transpose(1, 2)] * 3, need_weights=False)[0]
        return y.reshape(len(x), -1)


class WithoutRule(nn.Linear):
    def forward(self, x):
        return torch.cdist(x.unsqueeze(1), self.weight).squeeze(1) + torch.hypot(x, self.bias)


class Copies(nn.Module):
    """Weights that get their example axis by every function that can give it."""

    def __init__(self):
        super().__init__()
        self.token, self.row = nn.Parameter(torch.randn(1, 2, 4)), nn.Parameter(torch.randn(4))
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        n = len(x)
        parts = [self.token.repeat(n, 1, 1), self.token.tile(n, 1, 1), self.token.repeat_interleave(n, 0)]
        parts += [torch.stack([self.row.tanh()] * n)[:, None], torch.cat([self.token[:, :1]] * n)]
        return self.inner(torch.cat([*parts, x], 1)).tanh()


class Spelled(nn.Module):
    """Linear layers in other words."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(4, 4)) for _ in range(3))
        self.heads, self.shift = nn.Parameter(torch.randn(4, 2, 3)), nn.Parameter(torch.randn(4))
        self.pair = nn.Bilinear(4, 4, 5)

    def forward(self, x):
        flat = x.reshape(-1, 4)
        y = torch.mm(flat, self.a) + torch.addmm(self.shift, flat, self.b)
        y = y.view_as(x).tanh()
        z = torch.einsum("btd,dhe->bthe", y, self.heads).tanh()
        y = torch.einsum("bthe,dhe->btd", z, self.heads) + torch.einsum("oi,bti->bto", self.c, y)
        return self.pair(y[:, 0], x[:, 1]) + self.pair(y, x).sum(1)


class Fused(nn.Module):
    """Products and quotients that are added to something at once."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x):
        y = torch.addcmul(self.shift, self.scale, x, value=0.5).tanh()
        return y.addcmul(x, self.scale) + torch.addcdiv(x, y, self.shift.exp())


class Bags(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.padded = nn.EmbeddingBag(7, 3), nn.EmbeddingBag(7, 3, mode="sum", padding_idx=2)

    def forward(self, tokens):
        offsets = torch.arange(0, tokens.numel(), tokens.shape[1])
        y = self.mean(tokens) * self.mean(tokens.flatten(), offsets) + self.padded(tokens)
        return y + self.padded(tokens.flatten(), offsets, per_sample_weights=torch.ones(tokens.numel()) / 3)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=(1, 2))
        self.two = nn.ConvTranspose2d(6, 2, 2, bias=False)

    def forward(self, x):
        return self.two(self.one(x).tanh())


class Recurrent(nn.Module):
    def __init__(self, kind, packed=False, **options):
        super().__init__()
        self.inner, self.packed = kind(4, 3, batch_first=True, **options), packed

    def forward(self, x):
        if self.packed:
            lengths = 1 + (x[:, 0, 0] * 100).long().abs() % x.shape[1]
            pack = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, state = self.inner(pack)
            y = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0]
        else:
            y, state = self.inner(x)
        last = state[0] if isinstance(state, tuple) else state
        return torch.cat([y.flatten(1), last.transpose(0, 1).flatten(1)], 1)


class Started(nn.Module):
    """Recurrent layers of every kind, folded, from states of their own; what comes out is changed in place."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, batch_first=True, bidirectional=True)
        self.lstm, self.rnn = nn.LSTM(6, 3, batch_first=True), nn.RNN(3, 3, batch_first=True, bias=False)
        self.h, self.c = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        windows = x.reshape(-1, 3, 4)  # [B·2, 3, 4]
        y = self.gru(windows)[0].reshape(len(x), -1, 6)
        start = x[:, 0, :3] * self.h, x.sum(1)[:, :3] + self.c
        y, (h, c) = self.lstm(y, tuple(state.unsqueeze(0) for state in start))
        y.mul_(2).tanh_()
        return torch.cat([self.rnn(y, h)[0].flatten(1), c[0]], 1)


class Read(nn.Module):
    """Tables read by an index, also folded, of negative rows and of rows that are matrices."""

    def __init__(self):
        super().__init__()
        self.table, self.matrices = nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(5, 2, 3))

    def forward(self, tokens):
        y = self.table[tokens - 5] + self.matrices[tokens].sum(-2)
        y = y + torch.index_select(self.table, 0, tokens[:, 0])[:, None]
        return y * self.table[tokens.flatten()].view(len(tokens), -1, 3)


class Biased(nn.Module):
    """Fused attention with trainable position biases: of each head, of all, of windows."""

    def __init__(self):
        super().__init__()
        self.qkv, self.table = nn.Linear(4, 12, bias=False), nn.Embedding(7, 2)
        self.plain, self.windows = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(1, 1, 3, 3))

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (6, 2)).transpose(1, 2).chunk(3, 1)
        distance = torch.arange(6)[:, None] - torch.arange(6)
        bias = self.table(distance.clamp(-3, 3) + 3).permute(2, 0, 1).unsqueeze(0)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y = functional.scaled_dot_product_attention(y, k, v, attn_mask=self.plain, scale=0.3).transpose(1, 2)
        w = y.flatten(2).reshape(-1, 1, 3, 4)  # [B·2, 1, 3, 4]
        return functional.scaled_dot_product_attention(w, w, w, attn_mask=self.windows).reshape(len(x), -1)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(4, 3), nn.GRUCell(3, 3), nn.RNNCell(3, 3, nonlinearity="relu")

    def forward(self, x):
        state = (x.new_zeros(len(x), 3), x.new_zeros(len(x), 3))
        for step in x.unbind(1):
            state = self.lstm(step, state)
        return self.rnn(self.gru(state[0], state[1]), state[1]).cos()


def sequences(n=4, length=6, width=4):
    return torch.randn(n, length, width)


LAYERS = {
    "vectors": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), lambda: torch.randn(5, 4)),
    "sequences": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False)), sequences),
    "four axes": (lambda: nn.Linear(4, 5), lambda: torch.randn(3, 2, 5, 4)),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(4), nn.Tanh(), nn.LayerNorm([6, 4])), sequences),
    "layer norm without bias": (lambda: nn.Sequential(nn.LayerNorm(4, bias=False), nn.Tanh()), sequences),
    "layer norm, long": (lambda: nn.Sequential(nn.LayerNorm(64), nn.Tanh()), lambda: sequences(3, 130, 64)),
    "layer norm of vectors": (lambda: nn.Sequential(nn.LayerNorm(4), nn.Tanh()), lambda: torch.randn(5, 4)),
    "rms norm": (lambda: nn.Sequential(nn.RMSNorm(4), nn.Tanh(), nn.RMSNorm(4, eps=1e-3)), sequences),
    "group norm": (lambda: nn.Sequential(nn.GroupNorm(2, 6), nn.Tanh()), sequences),
    "group norm of images": (lambda: nn.Sequential(nn.GroupNorm(3, 6), nn.Tanh()), lambda: torch.randn(4, 6, 3, 5)),
    "instance norm": (
        lambda: nn.Sequential(nn.InstanceNorm2d(3, affine=True), nn.Tanh()),
        lambda: torch.randn(4, 3, 5, 2),
    ),
    "frozen batch norm": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Tanh()).eval(), lambda: torch.randn(4, 3, 5, 2)),
    "conv 1d": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv1d(4, 4, 1)),
        lambda: torch.randn(4, 6, 9),
    ),
    "conv 2d": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=(1, 2), dilation=(1, 2), bias=False),
            nn.Tanh(),
            nn.Conv2d(4, 6, 2, groups=2, padding="same"),
        ),
        lambda: torch.randn(18, 2, 9, 8),
    ),
    "conv padded in circles": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        lambda: torch.randn(4, 2, 5, 5),
    ),
    "conv 3d": (lambda: nn.Conv3d(2, 3, 2), lambda: torch.randn(4, 2, 3, 3, 3)),
    "bare parameters": (Positions, sequences),
    "bare parameters, as many positions as examples": (Positions, lambda: sequences(6, 6)),
    "a table of positions": (PositionTable, sequences),
    "a table of positions, as many as examples": (PositionTable, lambda: sequences(6, 6)),
    "a module called twice": (Twice, sequences),
    "a module called twice on vectors": (Twice, lambda: torch.randn(5, 4)),
    "a weight computed from parameters": (WeightNormed, sequences),
    "matrices on either side": (Mixer, lambda: sequences(4, 6)),
    "slopes": (lambda: nn.Sequential(nn.Linear(4, 4), nn.PReLU(4), nn.PReLU()), lambda: torch.randn(5, 4)),
    "a function without a rule": (lambda: WithoutRule(4, 4), lambda: torch.randn(5, 4)),
    "folded batches": (Folded, lambda: torch.randn(5, 8, 3)),
    "copies of a weight": (Copies, sequences),
    "linear layers in other words": (Spelled, sequences),
    "fused arithmetic": (Fused, sequences),
    "bags": (Bags, lambda: torch.randint(0, 7, (5, 4))),
    "transposed convolution": (Transposed, lambda: torch.randn(5, 4, 4, 3)),
    "transposed convolution 1d": (lambda: nn.ConvTranspose1d(6, 3, 2), sequences),
    "lstm": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), sequences),
    "lstm, projected": (lambda: Recurrent(nn.LSTM, proj_size=2), sequences),
    "lstm, packed": (lambda: Recurrent(nn.LSTM, packed=True, bidirectional=True), lambda: sequences(6)),
    "gru": (lambda: Recurrent(nn.GRU, num_layers=2), sequences),
    "gru, packed": (lambda: Recurrent(nn.GRU, packed=True), lambda: sequences(6)),
    "gru, packed, both ways": (lambda: Recurrent(nn.GRU, packed=True, bidirectional=True), lambda: sequences(6)),
    "recurrent layers from states of their own": (Started, sequences),
    "tables read by an index": (Read, lambda: torch.randint(0, 5, (4, 6))),
    "position biases in fused attention": (Biased, sequences),
    "rnn": (lambda: Recurrent(nn.RNN, bias=False, nonlinearity="relu"), sequences),
    "cells": (Cells, sequences),
    "a batch of one": (Twice, lambda: sequences(1)),
    "no positions": (lambda: nn.Linear(4, 3), lambda: sequences(3, 0)),
}


_UNTAKEN = ("lstm", "gru", "rnn", "cells", "bags", "copies", "recurrent")
NOT_FOR_VMAP = [name for name in LAYERS if name.startswith(_UNTAKEN)]


def losses_of(x):
    return square_losses if x.shape[1:].numel() else lambda model, batch: model(batch).flatten(1).sum(1)


@pytest.mark.parametrize("method", ["graph", "vmap"])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_equals_the_loop(layer, method):
    make, data = LAYERS[layer]
    model, x = make(), data()
    if method == "vmap" and layer in NOT_FOR_VMAP:
        pytest.skip("torch.func does not take it")
    statistics = ["mean", "mean_square", "norm", "mean_abs"] if len(x) == 1 else None
    check_against_the_loop(model, losses_of(x), x, method=method, statistics=statistics)


@pytest.mark.parametrize(
    "layer", [x for x in LAYERS if x not in ("a batch of one", "no positions", "bags", "tables read by an index")]
)
def test_groups_and_micro_batches_change_nothing_else(layer):
    make, data = LAYERS[layer]
    x = data()
    x = torch.cat([x, x.flip(1) + 0.1])[: len(x) // 2 * 4][:8]
    # A variance far below the mean's square is known to fewer places, in float64 too.
    rtol = 1e-10 if layer == "folded batches" else 1e-12
    check_against_the_loop(make(), square_losses, x, group_size=2, chunk_size=3, rtol=rtol)


@pytest.mark.parametrize("options", [{}, {"cross": True}, {"cross": True, "bias": False}])
def test_multi_head_attention_is_its_linear_parts(options):
    check_against_the_loop(Attention(**options), square_losses, sequences(), statistics=WITH_ATTENTION)


def test_attention_that_gives_its_weights_back_agrees_too():
    class Weighted(Attention):
        def forward(self, x):
            y, weights = self.attend(x, x, x, attn_mask=torch.ones(6, 6, dtype=torch.bool).triu(1))
            return torch.cat([y.flatten(1), weights.flatten(1)], 1)

    check_against_the_loop(Weighted(), square_losses, sequences(), statistics=WITH_ATTENTION)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_decoder_agrees_with_and_without_tied_tables(tied, norm):
    model = models.Decoder(tied=tied, norm=norm)
    batch = torch.randint(0, 11, (8, 9))
    check_against_the_loop(model, next_token_losses, batch, statistics=WITH_ATTENTION)
    check_against_the_loop(model, next_token_losses, batch, statistics=WITH_ATTENTION, group_size=4, chunk_size=1)


def test_tied_contributions_are_added_before_they_are_squared():
    model = models.Decoder(tied=True)
    batch = torch.randint(0, 11, (6, 9))
    expected = check_against_the_loop(model, next_token_losses, batch, statistics=["mean_square"])
    apart = models.Decoder(tied=False)
    apart.load_state_dict(model.state_dict())
    separate = check_against_the_loop(apart, next_token_losses, batch, statistics=["mean_square"])["mean_square"]
    wrong = separate["table.weight"] + separate["head.weight"]
    right = expected["mean_square"]["table.weight"]
    assert (wrong - right).norm() > 0.01 * right.norm()


def test_a_small_residual_network_agrees():
    batch = (torch.randn(6, 3, 8, 8), torch.randint(0, 5, (6,)))
    check_against_the_loop(models.small_resnet(), image_losses, batch)
    check_against_the_loop(models.small_resnet(), image_losses, batch, group_size=3)


def test_functions_that_do_not_vanish_at_zero_count_every_example():
    batch = torch.randint(0, 11, (5, 9))
    for tied in (True, False):
        check_against_the_loop(models.Decoder(tied=tied), next_token_losses, batch, statistics=[torch.cos])


def test_a_padding_row_has_no_gradient():
    model = nn.Embedding(5, 3, padding_idx=2)
    batch = torch.tensor([[0, 2, 2, 1], [2, 4, 4, 4]])
    answer = check_against_the_loop(model, square_losses, batch, statistics=["mean", "mean_square", "norm"])
    assert not answer["mean"]["weight"][2].any()


def test_one_token_for_each_example_is_read_as_examples():
    check_against_the_loop(nn.Embedding(5, 3), square_losses, torch.tensor([0, 2, 2, 1]))


@pytest.mark.parametrize("method", ["loop", "vmap", "graph"])
def test_frozen_parameters_are_skipped(method):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight.requires_grad_(False)
    model[1].bias.requires_grad_(False)
    answer = check_against_the_loop(model, square_losses, torch.randn(3, 4), method=method)
    assert list(answer["mean"]) == ["0.bias", "1.weight"]


@pytest.mark.parametrize("method", ["loop", "vmap", "graph"])
def test_a_parameter_no_loss_reaches_has_zeros(method):
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    losses = lambda m, x: m[0](x).sum(1)  # noqa: E731
    answer = check_against_the_loop(model, losses, torch.randn(3, 4), method=method)
    assert not answer["mean_square"]["1.weight"].any()


@settings(max_examples=25, deadline=None, database=None)
@given(
    n=st.integers(1, 5),
    axes=st.lists(st.integers(0, 4), max_size=2),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    bias=st.booleans(),
)
def test_linear_layers_of_any_shape_agree(n, axes, sizes, bias):
    model = nn.Sequential(nn.Linear(sizes[0], sizes[1], bias=bias), nn.Tanh(), nn.Linear(sizes[1], 2))
    statistics = ["mean", "mean_square", "mean_sign", "mean_abs", "norm"]
    x = torch.randn(n, *axes, sizes[0])
    losses = lambda m, b: m(b).reshape(len(b), -1).square().sum(1)  # noqa: E731
    check_against_the_loop(model, losses if x.numel() else losses_of(x), x, statistics=statistics)


@settings(max_examples=25, deadline=None, database=None)
@given(data=st.data())
def test_convolutions_of_any_shape_agree(data):
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    groups, kernel = draw(1, 3), draw(1, 3)
    model = nn.Conv2d(
        groups * draw(1, 2), groups * draw(1, 2), kernel, stride=draw(1, 3), padding=draw(0, 2),
        dilation=draw(1, 2), groups=groups, bias=data.draw(st.booleans()),
    )  # fmt: skip
    x = torch.randn(draw(1, 4), model.in_channels, draw(5, 8), draw(5, 8))
    check_against_the_loop(model, square_losses, x, statistics=["mean", "mean_square", "mean_abs", "norm"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_agrees_as_far_as_it_goes(dtype):
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.LayerNorm(8)).to(dtype), torch.randn(4, 6, 8).to(dtype)
    rtol = 1e-5 if dtype == torch.float32 else 5e-2
    answer = check_against_the_loop(model, square_losses, x, statistics=["mean", "mean_square", "norm"], rtol=rtol)
    assert answer["mean"]["0.weight"].dtype == torch.float32
