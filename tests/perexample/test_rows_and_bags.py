"""Tables read by index and in bags, whatever is read twice, not at all, or by several: the loop in float64 agrees."""

import pytest
import torch
from perexample_agreement import check_against_the_loop
from perexample_models import square_losses
from torch import nn
from torch.nn import functional

from regrad.perexample import clipped_mean, dot_product, gradient_statistics

pytestmark = pytest.mark.usefixtures("float64")

# Twice in one example, read by several, by none (5), and the padding row (2) in some, in one alone, and in none.
TOKENS = torch.tensor([[1, 1, 4, 2], [4, 4, 4, 4], [2, 2, 2, 2], [0, 1, 3, 6], [2, 6, 6, 0], [3, 1, 4, 1]])


class Bag(nn.Module):
    """One table; what each row counts comes from a trainable layer, or is given, or one."""

    def __init__(self, mode="sum", padding=None, factors="none", offsets=False):
        super().__init__()
        self.table = nn.EmbeddingBag(7, 3, mode=mode, padding_idx=padding)
        nn.init.normal_(self.table.weight)  # the padding row too
        self.scores = nn.Linear(1, 1)
        self.factors, self.offsets = factors, offsets

    def forward(self, tokens):
        factors = None
        if self.factors == "given":
            factors = tokens.to(torch.get_default_dtype()).cos()
        elif self.factors == "learned":
            factors = self.scores(tokens.unsqueeze(-1) / 7).squeeze(-1).tanh()
        if not self.offsets:
            return self.table(tokens, per_sample_weights=factors)
        starts = torch.arange(0, tokens.numel(), tokens.shape[1])
        return self.table(tokens.flatten(), starts, per_sample_weights=None if factors is None else factors.flatten())


CASES = [
    {"mode": mode, "padding": padding, "factors": factors, "offsets": offsets}
    for mode, factors in (("sum", "none"), ("sum", "given"), ("sum", "learned"), ("mean", "none"), ("max", "none"))
    for padding in (None, 2)
    for offsets in (False, True)
    if mode != "max" or not offsets
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_bags_agree_with_the_loop(case):
    model = Bag(**case)
    model.scores.requires_grad_(case["factors"] == "learned")
    check_against_the_loop(model, square_losses, TOKENS)
    check_against_the_loop(model, square_losses, TOKENS, chunk_size=4)
    check_against_the_loop(model, square_losses, TOKENS, group_size=2, chunk_size=2)


def test_several_bags_of_an_example_are_one_gradient():
    class Folded(Bag):
        def forward(self, tokens):
            return super().forward(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2]).flatten(1)

    tokens = torch.randint(0, 7, (5, 3, 4))
    for case in ({"padding": 2}, {"mode": "mean", "offsets": True}, {"factors": "given"}):
        model = Folded(**case).requires_grad_(False)
        model.table.requires_grad_(True)
        check_against_the_loop(model, square_losses, tokens)


class Both(nn.Module):
    """A table in a bag, by its rows, and as the head."""

    def __init__(self, *uses):
        super().__init__()
        self.table, self.uses = nn.Parameter(torch.randn(7, 3)), uses

    def forward(self, tokens):
        read = {
            "bag": lambda: functional.embedding_bag(tokens, self.table, mode="mean"),
            "index": lambda: self.table[tokens - 7].sum(1),
            "rows": lambda: functional.embedding(tokens, self.table, padding_idx=2).tanh().mean(1),
        }
        y = sum(read[use]() for use in self.uses if use != "head")
        return functional.linear(y.tanh(), self.table) if "head" in self.uses else y


@pytest.mark.parametrize("uses", [("bag",), ("index",), ("rows",), ("bag", "rows"), ("bag", "head"), ("index", "head")])
def test_uses_of_one_table_are_added_before_they_are_squared(uses):
    model, v = Both(*uses), torch.randn(7, 3)
    everything = [
        "mean", "mean_square", "mean_sign", "mean_abs", "norm", "gram", clipped_mean(max_norm=1.0),
        dot_product({"table": v}), torch.cos,
    ]  # fmt: skip
    check_against_the_loop(model, square_losses, TOKENS, statistics=everything)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (4, 0), (3, 2, 2)])
def test_tables_read_in_any_shape_agree(shape):
    tokens = torch.randint(0, 7, shape)
    losses = lambda m, x: (m(x).flatten(1) + 1).square().sum(1)  # noqa: E731
    check_against_the_loop(nn.Embedding(7, 3, padding_idx=1), losses, tokens)


def test_rows_of_a_table_in_half_precision_are_added_in_float32():
    model = nn.Embedding(7, 300, dtype=torch.bfloat16)
    model.weight.data = model.weight.data.sign()  # gradients of ±2, which many examples share
    tokens = torch.zeros(256, 2, dtype=torch.long)
    losses = lambda m, x: m(x).float().square().flatten(1).sum(1)  # noqa: E731
    answer = gradient_statistics(model, losses, tokens, ["mean", "mean_square"])
    assert answer["mean_square"]["weight"].dtype == torch.float32
    assert torch.equal(answer["mean_square"]["weight"][0], torch.full((300,), 16.0))
    assert torch.equal(answer["mean"]["weight"][0], 4 * model.weight[0].float())


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_what_looks_at_the_whole_batch_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        gradient_statistics(nn.EmbeddingBag(7, 3, **options), square_losses, TOKENS, ["mean"])


def test_bags_of_several_lengths_are_refused_with_a_method_that_takes_them():
    def losses(model, tokens):
        own = tokens > 0
        ends = own.sum(1).cumsum(0)
        return model(tokens[own], torch.cat([ends.new_zeros(1), ends[:-1]])).square().sum(1)

    with pytest.raises(ValueError, match="method='loop' takes it"):
        gradient_statistics(nn.EmbeddingBag(7, 3), losses, TOKENS, ["mean"])
