"""What people ask for: norms and clipping by group, weights, inner products, chosen parameters, merging, noise."""

import math
from itertools import product

import perexample_models as models
import pytest
import torch
from perexample_agreement import assert_same, check_against_the_loop
from perexample_models import image_losses, next_token_losses, square_losses
from test_gates import flops, largest
from torch import nn
from torch.nn.utils import parametrizations

from regrad.perexample import (
    clipped_mean,
    dot_product,
    folding,
    gradient_statistics,
    group_norms,
    inner_products,
    layer_of,
    merge_statistics,
    noise_scale,
    weighted_mean,
)
from regrad.perexample.batches import take
from regrad.perexample.engine import METHODS
from regrad.perexample.loop import gradients_of, mean_loss

pytestmark = pytest.mark.usefixtures("float64")


class Shared(nn.Module):
    """One linear layer twice, once more as a product with a slice of its weight, a scale, and a scalar."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)
        self.scalar = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        y = self.layer(torch.tanh(self.layer(x)))
        return self.norm(y * self.scalar) @ self.layer.weight[:2].t()


def lower_case():
    layers = (nn.Conv1d(4, 8, 3, groups=4), nn.Tanh(), nn.ConvTranspose1d(8, 6, 2, groups=2), nn.GroupNorm(2, 6))
    return nn.Sequential(*layers)


CASES = {
    "one position": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), square_losses, (6, 4)),
    "positions": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2)), square_losses, (6, 7, 4)
    ),
    "tied table": (models.Decoder, next_token_losses, None),
    "table": (lambda: models.Decoder(tied=False, layers=0), next_token_losses, None),
    "images": (models.small_resnet, image_losses, (6, 3, 8, 8)),
    "convolutions in groups": (lower_case, square_losses, (6, 4, 9)),
    "used three times": (Shared, square_losses, (6, 7, 4)),
    "made of others": (lambda: parametrizations.weight_norm(nn.Linear(4, 3)), square_losses, (6, 4)),
    "recurrent": (
        lambda: nn.Sequential(nn.GRU(4, 3, batch_first=True), First(), nn.Linear(3, 2)), square_losses, (6, 5, 4)
    ),
}  # fmt: skip


class First(nn.Module):
    def forward(self, outputs):
        return outputs[0]


def case(name):
    make, losses, shape = CASES[name]
    batch = torch.randint(0, 11, (6, 9)) if shape is None else torch.randn(*shape)
    return make(), losses, (batch, torch.randint(0, 5, (6,))) if losses is image_losses else batch


def direction(model, *, part=1):
    return {name: torch.randn_like(p) for name, p in [*model.named_parameters()][::part]}


def asked(model):
    return {
        "by layer": group_norms(),
        "by parameter": group_norms(by=str),
        "clipped by layer": clipped_mean(0.1, by=layer_of),
        "clipped": clipped_mean(0.3),
        "automatic": weighted_mean(lambda norm: 1 / (norm + 0.01)),
        "automatic by parameter": weighted_mean(lambda norm: 1 / (norm + 0.01), by=str),
        "along": dot_product(direction(model)),
        "along some": dot_product(direction(model, part=2)),
        "norm": "norm",
    }


@pytest.mark.parametrize("name", CASES)
def test_every_method_answers_as_the_loop(name):
    model, losses, batch = case(name)
    statistics = asked(model)
    for options in ({}, {"group_size": 2}, {"chunk_size": 4}):
        check_against_the_loop(model, losses, batch, statistics=statistics, **options)
    if name != "recurrent":  # torch.func has no GRU
        check_against_the_loop(model, losses, batch, method="vmap", statistics=statistics, group_size=2, chunk_size=2)
    more = {**statistics, "mean": "mean", "variance": "variance", "mean_abs": "mean_abs", "own": torch.tanh}
    check_against_the_loop(model, losses, batch, statistics=more)
    for key in ("along", "along some"):
        check_against_the_loop(model, losses, batch, statistics={key: statistics[key]})
        check_against_the_loop(model, losses, batch, statistics={key: statistics[key], "mean": "mean"})


@pytest.mark.parametrize("name", ["positions", "tied table"])
def test_directions_are_cut_as_the_blocks_of_a_layer_are(monkeypatch, name):
    model, losses, batch = case(name)
    monkeypatch.setattr(folding, "BLOCK", 12)
    # Signs are formed in the place of a block.
    sign = ["mean_sign"] if name == "positions" else []
    statistics = {"along": dot_product(direction(model)), **{key: key for key in ("norm", "mean_abs", *sign)}}
    check_against_the_loop(model, losses, batch, statistics=statistics)


@pytest.mark.parametrize("positions", [True, False, None])
@pytest.mark.parametrize("at_once", [60, 1 << 20])
@pytest.mark.parametrize("name", CASES)
def test_all_pairs_by_positions_and_by_rows_of_the_weight(monkeypatch, name, positions, at_once):
    model, losses, batch = case(name)
    monkeypatch.setattr(inner_products, "_AT_ONCE", at_once)
    if positions is not None:
        monkeypatch.setattr(inner_products, "_prefers_positions", lambda uses: positions)
    check_against_the_loop(model, losses, batch, statistics=["gram"])
    check_against_the_loop(model, losses, batch, statistics=["gram", "mean_square", "norm"], group_size=2)


def test_the_loop_does_what_the_words_say():
    model, losses, batch = case("positions")
    v, half = direction(model), direction(model, part=2)
    singles = [gradients_of(mean_loss(model, losses, batch, slice(i, i + 1)), model) for i in range(6)]
    norm = lambda g, names: torch.stack([g[name].square().sum() for name in names]).sum().sqrt()  # noqa: E731
    layers = {"0": ["0.weight", "0.bias"], "1": ["1.weight", "1.bias"], "3": ["3.weight", "3.bias"]}
    limits = {"0": 0.5, "1": 0.3, "3": 2.0}
    expected = {
        "gram": torch.tensor([[sum((g[n] * h[n]).sum() for n in g) for h in singles] for g in singles]),
        "along": torch.tensor([sum((g[n] * v[n]).sum() for n in v) for g in singles]),
        "half": torch.tensor([sum((g[n] * half[n]).sum() for n in half) for g in singles]),
        "layers": {key: torch.stack([norm(g, names) for g in singles]) for key, names in layers.items()},
        "clipped": {
            n: sum(g[n] * min(1, limits[key] / norm(g, names)) for g in singles) / 6
            for key, names in layers.items() for n in names
        },
        "root": {n: sum(g[n] / norm(g, g).sqrt() for g in singles) / 6 for n in v},
    }  # fmt: skip
    wanted = {
        "gram": "gram",
        "along": dot_product(v),
        "half": dot_product(half),
        "layers": group_norms(),
        "clipped": clipped_mean(limits, by=layer_of),
        "root": weighted_mean(lambda norm: norm**-0.5),
    }
    for method in METHODS:
        assert_same(expected, gradient_statistics(model, losses, batch, wanted, method=method))


def test_a_step_along_minus_the_mean_changes_each_loss_by_its_product():
    model, losses, batch = case("images")
    mean = gradient_statistics(model, losses, batch, ["mean"])["mean"]
    products = gradient_statistics(model, losses, batch, [dot_product(mean)])["dot_product"]
    with torch.no_grad():
        before = losses(model, batch)
        for name, p in model.named_parameters():
            p.sub_(mean[name], alpha=1e-6)
        torch.testing.assert_close(before - losses(model, batch), 1e-6 * products, rtol=1e-3, atol=1e-10)


def test_products_hold_nothing_of_the_size_of_all_gradients(monkeypatch):
    model, batch = models.Decoder(50, 64, layers=1), torch.randint(0, 50, (16, 9))
    monkeypatch.setattr(inner_products, "_AT_ONCE", 1 << 15)
    ordinary = largest(lambda: next_token_losses(model, batch).mean().backward())
    wanted = ["gram", dot_product({n: p.detach() for n, p in model.named_parameters()}), group_norms()]
    assert largest(lambda: gradient_statistics(model, next_token_losses, batch, wanted)) <= max(ordinary, 1 << 15)
    # B x layer is 16 x 4 x 64 x 64.
    assert largest(lambda: gradient_statistics(model, next_token_losses, batch, ["gram"], method="vmap")) >= 262144


def test_norms_by_group_cost_no_multiplication_and_weights_one_backward_pass():
    model, batch = models.Decoder(50, 64, layers=1), torch.randint(0, 50, (16, 9))
    count = lambda wanted: flops(lambda: gradient_statistics(model, next_token_losses, batch, wanted))  # noqa: E731
    count(["norm"])
    assert count([group_norms()]) == count(["norm"])
    assert count([clipped_mean(0.1, by=layer_of)]) == count([clipped_mean(0.1)])


@pytest.mark.parametrize("method", METHODS)
def test_chosen_parameters_have_the_statistics_that_they_have_among_all(method):
    model, losses, batch = case("tied table")
    everything = gradient_statistics(model, losses, batch, ["mean", "mean_square", "norm", "gram"], method=method)
    chosen = ["blocks.1", "positions"]
    some = gradient_statistics(
        model, losses, batch, ["mean", "mean_square", group_norms(str), "norm"], method=method, parameters=chosen
    )
    names = [n for n, _ in model.named_parameters() if n == "positions" or n.startswith("blocks.1.")]
    assert list(some["mean"]) == names
    for key in ("mean", "mean_square"):
        assert_same({key: {n: everything[key][n] for n in names}}, {key: some[key]})
    own = torch.stack([norm.square() for norm in some["group_norms"].values()]).sum(0).sqrt()
    torch.testing.assert_close(own, some["norm"])
    assert bool((some["norm"] < everything["norm"]).all())
    assert all(p.requires_grad for p in model.parameters())


def test_a_tied_parameter_is_chosen_by_any_of_its_places():
    model, losses, batch = case("tied table")
    (by_head, by_table) = (
        gradient_statistics(model, losses, batch, ["mean"], parameters=[name])["mean"] for name in ("head", "table")
    )
    assert list(by_head) == ["table.weight"]
    assert_same({"mean": by_head}, {"mean": by_table})


def test_chosen_parameters_cost_less_than_all():
    model, batch = models.Decoder(50, 64, layers=3, tied=False), torch.randint(0, 50, (16, 9))

    def cost(chosen):
        run = lambda: gradient_statistics(model, next_token_losses, batch, ["mean_square"], parameters=chosen)  # noqa: E731
        run()  # the probe, which is remembered for these parameters
        return flops(run)

    forward = flops(lambda: next_token_losses(model, batch))
    # Above the head nothing is left to do; of the last block one of three remains.
    assert cost(["head"]) < 1.3 * forward
    assert cost(["blocks.2"]) < 0.7 * cost(None)
    assert cost(["table"]) < 0.8 * cost(None)


def test_the_probes_of_all_and_of_some_parameters_are_both_remembered(monkeypatch):
    model, losses, batch = case("positions")
    for chosen in (None, ["0"]):
        gradient_statistics(model, losses, batch, ["mean"], parameters=chosen)
    monkeypatch.setattr("regrad.perexample.driver.probe", None)
    for chosen in (None, ["0"], None):
        gradient_statistics(model, losses, batch, ["mean"], parameters=chosen)


def test_chosen_parameters_of_which_no_loss_reaches_one_are_refused():
    model = nn.ModuleDict({"used": nn.Linear(4, 2), "spare": nn.Linear(4, 2)})
    losses = lambda m, x: m["used"](x).square().sum(1)  # noqa: E731
    with pytest.raises(ValueError, match="none has a gradient for any parameter"):
        gradient_statistics(model, losses, torch.randn(5, 4), ["mean"], parameters=["spare"])
    both = gradient_statistics(model, losses, torch.randn(5, 4), ["mean", "gram"], parameters=["spare", "used.bias"])
    assert not both["mean"]["spare.weight"].any()


def test_parameters_are_thawed_after_an_error_and_those_frozen_before_stay_so():
    model, losses, batch = case("positions")
    model[0].bias.requires_grad_(False)
    before = [p.requires_grad for p in model.parameters()]
    with pytest.raises(ZeroDivisionError):
        gradient_statistics(model, lambda m, b: losses(m, b) / (1 // 0), batch, ["mean"], parameters=["3"])
    assert [p.requires_grad for p in model.parameters()] == before
    assert list(gradient_statistics(model, losses, batch, ["mean"], parameters=["0"])["mean"]) == ["0.weight"]


@pytest.mark.parametrize("name", ["positions", "images"])
def test_micro_batches_merge_to_the_whole(name):
    model, losses, batch = case(name)
    names = ["mean", "mean_square", "variance", "mean_abs", "norm"]
    # The sign of a gradient that is zero on paper is the rounding's.
    names += ["mean_sign"] if name == "positions" else []
    statistics = {**asked(model), **{name: name for name in names}, "own": torch.tanh}
    parts = [gradient_statistics(model, losses, take(batch, part), statistics) for part in (slice(2), slice(2, 6))]
    assert_same(gradient_statistics(model, losses, batch, statistics), merge_statistics(statistics, parts, [2, 4]))


def test_the_noise_scale_by_hand():
    # g = 1 and 3: mean 2, variance 2; |G|² is 4 less a half of 2.
    noise = noise_scale({"mean": {"w": torch.tensor([2.0])}, "norm": torch.tensor([1.0, 3.0])})
    assert tuple(noise) == (2, 3)
    assert noise.scale == 2 / 3
    # 1 and -1 show no gradient at all.
    assert noise_scale({"mean": {"w": torch.zeros(1)}, "norm": torch.ones(2)}).scale == math.inf


def test_the_noise_scale_has_no_bias_and_is_the_paper_s_with_batches_of_one_and_of_all():
    population = torch.tensor([[1.0, 2.0], [-1.0, 4.0], [3.0, 3.0]])
    centre = population.mean(0)
    noises = []
    for drawn in product(population, repeat=3):
        g = torch.stack(drawn)
        noise = noise_scale({"mean": {"w": g.mean(0)}, "norm": g.norm(dim=1)})
        small, big = g.square().sum(1).mean(), g.mean(0).square().sum()
        assert noise.squared_norm == pytest.approx(float((3 * big - 1 * small) / (3 - 1)))
        assert noise.trace == pytest.approx(float((small - big) / (1 / 1 - 1 / 3)))
        noises.append(noise)
    assert sum(n.trace for n in noises) / 27 == pytest.approx(float((population - centre).square().sum() / 3))
    assert sum(n.squared_norm for n in noises) / 27 == pytest.approx(float(centre.square().sum()))


def test_the_noise_is_the_variance_added_up():
    model, losses, batch = case("images")
    answer = gradient_statistics(model, losses, batch, ["mean", "variance", "norm"])
    total = sum(float(variance.sum()) for variance in answer["variance"].values())
    assert noise_scale(answer).trace == pytest.approx(total)


@pytest.mark.parametrize(
    ("statistics", "options", "sentence"),
    [
        ([clipped_mean], {}, r"clipped_mean is a class; pass clipped_mean\(max_norm"),
        (["dot_product"], {}, r"'dot_product' needs its arguments; pass dot_product\(direction"),
        ([group_norms(lambda name: 3)], {}, r"by\('0.weight'\) returned 3"),
        ([clipped_mean({"0": 1.0}, by=layer_of)], {}, "group '1' is either not among"),
        ([dot_product({"spam": torch.ones(2)})], {}, "names 'spam'"),
        ([dot_product({"0.bias": torch.ones(2)})], {}, r"0.bias is \[5\], the direction's \[2\]"),
        ([dot_product({"0.bias": torch.ones(5)})], {"parameters": ["3"]}, "none of the parameters asked for"),
        ([weighted_mean(lambda norm: norm.sum())], {}, r"weight returned \[\] for norms \[6\]"),
        ([weighted_mean(lambda norm: norm / 0)], {}, "is inf; a finite number"),
        (["gram"], {"chunk_size": 2}, "leave chunk_size out"),
        (["mean"], {"parameters": "0"}, "parameters='0': a list of names"),
        (["mean"], {"parameters": []}, "parameters is empty"),
        (["mean"], {"parameters": ["0", "2"]}, "'2' is no trainable parameter"),
    ],
)
def test_bad_questions_are_refused_in_one_line(statistics, options, sentence):
    model, losses, batch = case("positions")
    with pytest.raises(ValueError, match=sentence) as error:
        gradient_statistics(model, losses, batch, statistics, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: clipped_mean({"0": 1.0}), "needs by="),
        (lambda: clipped_mean({"0": -1.0}, by=layer_of), "max_norm=-1.0"),
        (lambda: weighted_mean(3), "weight=3"),
        (lambda: group_norms("layer"), "by='layer'"),
        (lambda: dot_product({}), "not an empty one"),
        (lambda: noise_scale({"mean": {}}), "'mean' and 'norm'"),
        (lambda: noise_scale({"mean": {"w": torch.ones(1)}, "norm": torch.ones(1)}), "1 example has no variance"),
        (lambda: merge_statistics(["mean"], [], []), "0 parts"),
        (lambda: merge_statistics(["mean"], [{"mean": {}}], [0]), "counts: 0"),
        (lambda: merge_statistics(["gram"], [{}], [1]), "gram: pairs"),
        (lambda: merge_statistics(["variance"], [{}], [2]), "ask for 'mean' beside it"),
        (lambda: merge_statistics(["mean"], [{}], [2]), "'mean' is not in every part"),
        (lambda: merge_statistics(["norm"], [{"norm": torch.ones(3)}], [2]), "2 examples, but 'norm' has 3"),
        (
            lambda: merge_statistics(["mean"], [{"mean": {"a": torch.ones(1)}}, {"mean": {}}], [1, 1]),
            "of different parameters",
        ),
    ],
)
def test_bad_pieces_are_refused_in_one_line(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)
