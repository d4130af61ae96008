"""Statistics whose unit is the token: by hand, against a copy of the weights for each position, and their price."""

import math

import perexample_models as models
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perexample_agreement import assert_same
from perexample_models import next_token_losses, square_losses
from perexample_tokens import by_copies
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from regrad.perexample.engine import gradient_statistics
from regrad.perexample.rules.registry import MODULE_RULES, register_rule
from regrad.perexample.tokens import STATISTICS, token_statistics

ALL = list(STATISTICS)

pytestmark = pytest.mark.usefixtures("float64")


class Causal(nn.Module):
    """Positions see each other between the layers: a token's contribution is not its loss's gradient."""

    def forward(self, x):
        return torch.cumsum(x, 1).tanh()


class Language(nn.Module):
    """Table and head, tied or not, and a block between them; `layers` = 0 leaves both next to each other."""

    def __init__(self, *, tied, norm=nn.LayerNorm, layers=1, padding=None):
        super().__init__()
        self.table = nn.Embedding(7, 4, padding_idx=padding)
        self.blocks = nn.ModuleList(models.Block(4, norm) for _ in range(layers))
        self.norm, self.head = norm(4), nn.Linear(4, 7, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def check(model, losses, batch, statistics=None, **options):
    statistics = ALL if statistics is None else statistics
    expected = by_copies(model, losses, batch, statistics, options.get("mask"))
    assert_same(expected, token_statistics(model, losses, batch, statistics, **options))
    return expected


def test_two_tokens_of_one_weight_by_hand():
    # y = w x at x = 1, 3 of example one and 2, 2 of example two, loss the sum of y²/2 over two tokens, w = 1: what a
    # token adds is y x = x²: c = 1, 9, 4, 4, and g = 2 c = 2, 18, 8, 8. Mean 36/4; squares 4 + 324 + 64 + 64 = 456, /4.
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    x = torch.tensor([[[1.0], [3.0]], [[2.0], [2.0]]])
    losses = lambda m, b: 0.5 * m(b).square().sum((1, 2))  # noqa: E731
    answer = token_statistics(model, losses, x, ALL)
    assert {key: answer[key]["weight"].item() for key in ALL[:4]} == {
        "mean": 9, "mean_square": 114, "mean_sign": 1, "mean_abs": 9
    }  # fmt: skip
    assert answer["norm"].tolist() == [[2, 18], [8, 8]]
    # Examples have gradients 10 and 8: the same mean, other squares.
    by_example = gradient_statistics(model, losses, x, ["mean", "mean_square"])
    assert by_example["mean"]["weight"].item() == 9
    assert by_example["mean_square"]["weight"].item() == 82


def test_a_tied_table_adds_both_contributions_of_a_token_before_the_square_by_hand():
    # One token, row 0, width 1, w = (2, 3): logits w_v h with h = w_0 = 2; loss their sum, 2·2 + 3·2. As a table row 0
    # gets 2 + 3 = 5, as a head each row gets h = 2: together (7, 2), squares (49, 4), not 25 + 4 and 4.
    table = nn.Embedding(2, 1, _weight=torch.tensor([[2.0], [3.0]]))
    losses = lambda m, b: functional.linear(m(b), m.weight).sum((1, 2))  # noqa: E731
    answer = token_statistics(table, losses, torch.tensor([[0]]), ["mean", "mean_square", "norm"])
    assert answer["mean"]["weight"].tolist() == [[7], [2]]
    assert answer["mean_square"]["weight"].tolist() == [[49], [4]]
    assert answer["norm"].item() == pytest.approx(math.sqrt(53), rel=1e-15)


def test_the_mean_is_the_ordinary_gradient_whatever_the_losses_are_divided_by():
    model, batch = Language(tied=True), torch.randint(0, 7, (5, 6))
    next_token_losses(model, batch).mean().backward()
    answer = token_statistics(model, next_token_losses, batch, ["mean"])["mean"]
    for name, p in model.named_parameters():
        torch.testing.assert_close(answer[name], p.grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_decoder_equals_a_copy_of_its_weights_for_each_position(tied, norm):
    batch = torch.randint(0, 7, (5, 6))
    statistics = [key for key in ALL if key != "mean_sign"]  # the key bias's gradient is zero up to rounding
    check(Language(tied=tied, norm=norm), next_token_losses, batch, statistics)
    check(Language(tied=tied, norm=norm, layers=0, padding=3), next_token_losses, batch)


@pytest.mark.parametrize("tied", [True, False])
def test_micro_batches_change_nothing(tied):
    model, batch = Language(tied=tied, layers=0), torch.randint(0, 7, (5, 6))
    whole = token_statistics(model, next_token_losses, batch, ALL)
    assert_same(whole, token_statistics(model, next_token_losses, batch, ALL, chunk_size=2))


@settings(max_examples=20, deadline=None, database=None)
@given(
    n=st.integers(1, 4),
    axes=st.lists(st.integers(0, 4), max_size=2),
    sizes=st.tuples(st.integers(1, 5), st.integers(2, 5)),  # one is normalised to a constant: gradients of rounding
    bias=st.booleans(),
    affine=st.booleans(),
)
def test_linear_and_normalization_layers_of_any_shape_equal_the_copies(n, axes, sizes, bias, affine):
    norm = nn.LayerNorm(sizes[1], bias=bias) if affine else nn.RMSNorm(sizes[1])
    model = nn.Sequential(nn.Linear(*sizes, bias=bias), nn.Tanh(), norm, nn.Tanh(), nn.Linear(sizes[1], 2))
    losses = lambda m, b: m(b).reshape(len(b), math.prod(b.shape[1:-1]) * 2).square().sum(1)  # noqa: E731
    x = torch.randn(n, *axes, sizes[0])
    check(model, losses, x)


@settings(max_examples=15, deadline=None, database=None)
@given(n=st.integers(1, 4), T=st.integers(1, 5), rows=st.integers(1, 4), tied=st.booleans())
def test_tables_of_any_shape_equal_the_copies(n, T, rows, tied):
    table = nn.Embedding(rows, 3)
    mix = Causal()
    head = table.weight if tied else torch.randn(rows, 3)
    losses = lambda m, b: functional.linear(mix(m(b)), head).square().flatten(1).sum(1)  # noqa: E731
    check(table, losses, torch.randint(0, rows, (n, T)))


@pytest.mark.parametrize("shape", [(5, 4), (5, 1, 4)])
def test_one_position_for_each_example_gives_the_statistics_of_examples(shape):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(shape)
    expected = gradient_statistics(model, square_losses, x, ALL, method="loop")
    expected["norm"] = expected["norm"].unsqueeze(1)
    assert_same(expected, token_statistics(model, square_losses, x, ALL))


def test_a_tied_decoder_of_one_position_gives_the_statistics_of_examples():
    model, batch = Language(tied=True, layers=0), torch.randint(0, 7, (6, 2))
    expected = gradient_statistics(model, next_token_losses, batch, ["mean", "mean_square", "mean_abs"], method="loop")
    assert_same(expected, token_statistics(model, next_token_losses, batch, list(expected)))


def test_a_batch_of_one_example_and_a_parameter_no_loss_reaches():
    model = nn.ModuleDict({"used": nn.Linear(4, 3), "idle": nn.Linear(2, 2)})
    losses = lambda m, b: m["used"](b).square().flatten(1).sum(1)  # noqa: E731
    answer = check(model, losses, torch.randn(1, 5, 4))
    assert not answer["mean_square"]["idle.weight"].any()


def test_frozen_parameters_are_skipped_whatever_their_layer():
    model = nn.Sequential(nn.Conv1d(3, 5, 1), Causal(), nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    model[2].weight.requires_grad_(False)
    model[3].bias.requires_grad_(False)
    answer = check(model, square_losses, torch.randn(3, 3, 6))
    assert list(answer["mean"]) == ["2.bias", "3.weight", "4.weight", "4.bias"]


def test_a_layer_after_pooling_has_positions_of_its_own():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.inside(x).tanh().mean(1))

    model, x = Pooled(), torch.randn(3, 6, 4)
    check(model, square_losses, x, ALL[:4])
    with pytest.raises(ValueError, match=r"norm: .* positions") as error:
        token_statistics(model, square_losses, x, ["norm"])
    assert "\n" not in str(error.value)


def test_a_weight_multiplied_from_the_right_and_a_scale_used_twice_are_followed():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.right = nn.LayerNorm(4), nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return self.norm(self.norm(x).tanh()) @ self.right

    model, x = Twice(), torch.randn(3, 5, 4)
    answer = token_statistics(model, square_losses, x, ALL)
    plain = nn.Sequential(nn.LayerNorm(4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3, bias=False))
    plain[0], plain[3].weight = model.norm, nn.Parameter(model.right.detach().t().clone())
    plain[2] = model.norm
    expected = by_copies(plain, square_losses, x, ALL)
    for key in ALL[:4]:
        found = {"0.weight": answer[key]["norm.weight"], "0.bias": answer[key]["norm.bias"]}
        found["3.weight"] = answer[key]["right"].t()
        assert_same({key: expected[key]}, {key: found})
    assert_same({"norm": expected["norm"]}, {"norm": answer["norm"]})


def test_each_statistic_costs_one_product_of_the_weight_gradients_size():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 4))
    x = torch.randn(3, 5, 8)
    token_statistics(model, square_losses, x, ALL)
    product = 2 * 3 * 5 * (8 * 16 + 16 * 4)

    def flops(run):
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    ordinary = flops(lambda: square_losses(model, x).mean().backward())
    for wanted, products in ((["mean"], 1), (["mean", "norm"], 1), (ALL, 4), (["mean_square"], 1), (["norm"], 0)):
        found = flops(lambda wanted=wanted: token_statistics(model, square_losses, x, wanted))
        assert found == ordinary + (products - 1) * product


def test_activation_checkpointing_and_autocast_agree():
    model, batch = Language(tied=True), torch.randint(0, 7, (4, 6))
    statistics = ["mean", "mean_square", "mean_abs", "norm"]
    expected = token_statistics(model, next_token_losses, batch, statistics)
    block = model.blocks[0]
    forward = type(block).forward
    block.forward = lambda x: checkpoint(forward, block, x, use_reentrant=False)
    assert_same(expected, token_statistics(model, next_token_losses, batch, statistics))

    def under_autocast(model, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(batch[:, :-1])
        return functional.cross_entropy(logits.transpose(1, 2).float(), batch[:, 1:], reduction="none").mean(1)

    model = Language(tied=True).float()
    answer = token_statistics(model, under_autocast, batch, statistics)
    expected = by_copies(model.double(), next_token_losses, batch, statistics)
    for key in ("mean_square", "mean_abs"):
        for name, value in expected[key].items():
            assert answer[key][name].dtype == torch.float32
            torch.testing.assert_close(answer[key][name].double(), value, rtol=0, atol=0.1 * float(value.max()))


def test_other_names_other_shapes_and_other_lengths_follow_each_other():
    # What one batch's forward pass looked like is remembered, and must not be held against the next.
    model = Language(tied=True, layers=0)
    for n, T in ((4, 6), (2, 6), (4, 3), (1, 5), (4, 6)):
        batch = torch.randint(0, 7, (n, T))
        expected = by_copies(model, next_token_losses, batch, ALL)
        named = {"a": "mean_square", "b": "norm"}
        answer = token_statistics(model, next_token_losses, batch, named)
        assert_same({"a": expected["mean_square"], "b": expected["norm"]}, answer)
        # The surgery for examples shares that memory.
        gradient_statistics(model, next_token_losses, batch, ["mean"])


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return x * self.scale


class CalledTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x).tanh())


class HalfTied(nn.Module):
    """The head sees fewer positions than the table."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 4)

    def forward(self, x):
        return functional.linear(self.table((x > 0).sum(2))[:, 1:], self.table.weight)


class Sliced(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight[:2]) + functional.linear(x, self.weight[2:])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False)[0]


REFUSED = {
    "a bare scale": (Scaled, "of scale: .* no rule"),
    "a linear layer called twice": (CalledTwice, "layer.weight: used 2 times"),
    "a table tied to a head with fewer positions": (HalfTied, r"table.weight: used at \[4, 5\] positions"),
    "a weight in slices": (lambda: Sliced(4, 4, bias=False), "weight: .* several parts"),
    "a convolution": (lambda: nn.Conv1d(5, 4, 1), "conv1d of bias, weight: .* no rule"),
    "group normalisation": (lambda: nn.GroupNorm(1, 5), "group_norm of bias, weight"),
    "nn.MultiheadAttention": (Attending, "in_proj"),
    "batch normalisation": (lambda: nn.BatchNorm1d(5), "whole batch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_no_token_is_well_defined_the_parameter_is_refused_by_name(case):
    make, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as error:
        token_statistics(make(), square_losses, torch.randn(3, 5, 4), ["mean", "mean_square"])
    assert "\n" not in str(error.value)
    assert "gradient_statistics" in str(error.value) or case == "batch normalisation"


def test_a_rule_registered_for_examples_is_not_taken_for_one_of_tokens():
    class Own(Scaled):
        pass

    register_rule(Own)(lambda module, x, g: {"scale": (g * x).sum(1)})
    try:
        with pytest.raises(ValueError, match="scale: its layer's registered rule"):
            token_statistics(Own(), square_losses, torch.randn(3, 5, 4), ["mean"])
    finally:
        del MODULE_RULES[Own]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"statistics": ["variance"]}, "'variance' is not one of"),
        ({"statistics": [torch.cos]}, "'cos' is not one of"),
        ({"statistics": []}, "empty"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"chunk_size": True}, "chunk_size=True"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, sentence):
    arguments = {"statistics": ["mean"], **arguments}
    with pytest.raises(ValueError, match=sentence) as error:
        token_statistics(nn.Linear(4, 3), square_losses, torch.randn(3, 5, 4), **arguments)
    assert "\n" not in str(error.value)


def padded(tokens):
    """A mask of sequences of 1 to 8 tokens, and losses in which padding has none."""
    real = torch.arange(tokens.shape[1] - 1) < torch.tensor([8, 3, 1, 5, 8, 2]).unsqueeze(1)

    def losses(model, batch):
        tokens, real = batch
        by_token = functional.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
        return (by_token * real).sum(1) / real.sum(1)

    return real, losses


@pytest.mark.parametrize("options", [{}, {"chunk_size": 4}])
@pytest.mark.parametrize("tied", [True, False])
def test_padding_is_no_token(tied, options):
    model, tokens = Language(tied=tied, padding=0), torch.randint(0, 7, (6, 9))
    real, losses = padded(tokens)
    answer = check(model, losses, (tokens, real), mask=real, **options)
    # Causal attention: what comes after the last token adds nothing, so the mean is still the gradient.
    assert_same(
        {"mean": gradient_statistics(model, losses, (tokens, real), ["mean"])["mean"]}, {"mean": answer["mean"]}
    )
    assert bool(((answer["norm"] > 0) == real).all())


def test_a_mask_takes_out_what_is_not_zero():
    model, x = nn.Sequential(nn.Linear(4, 3), Causal(), nn.Linear(3, 2)), torch.randn(5, 4, 4)
    mask = torch.rand(5, 4) < 0.6
    check(model, square_losses, x, mask=mask)
    everything = token_statistics(model, square_losses, x, ALL, mask=torch.ones(5, 4, dtype=torch.bool))
    assert_same(token_statistics(model, square_losses, x, ALL), everything)


def test_a_layer_after_pooling_is_not_masked():
    model = nn.ModuleList([nn.Linear(4, 3), nn.Linear(3, 2)])
    losses = lambda m, x: m[1](m[0](x).tanh().mean(1)).square().sum(1)  # noqa: E731
    check(model, losses, torch.randn(5, 6, 4), ALL[:4], mask=torch.rand(5, 6) < 0.7)


def test_chosen_parameters_of_tokens():
    model, tokens = Language(tied=False), torch.randint(0, 7, (6, 9))
    everything = token_statistics(model, next_token_losses, tokens, ["mean_square"])["mean_square"]
    some = token_statistics(model, next_token_losses, tokens, ["mean_square"], parameters=["head", "blocks"])
    assert list(some["mean_square"]) == [n for n in everything if n.startswith(("head", "blocks"))]
    assert_same({"x": {n: everything[n] for n in some["mean_square"]}}, {"x": some["mean_square"]})


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.ones(6, 8), r"mask: torch.float32 \[6, 8\]; a bool tensor \[6, T\]"),
        (torch.ones(5, 8, dtype=torch.bool), r"bool \[5, 8\]; a bool tensor \[6, T\]"),
        ([True] * 6, "mask: list; a bool tensor"),
        (torch.zeros(6, 8, dtype=torch.bool), "false everywhere"),
        (torch.ones(6, 9, dtype=torch.bool), "it has 9 positions, the layer of .* 8;"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        token_statistics(Language(tied=False), next_token_losses, torch.randint(0, 7, (6, 9)), ALL, mask=mask)
