"""SGG's equations, neutral settings, scope, hard inputs and life as an optimizer."""

import copy
import io
import pickle

import pytest
import torch
from sgg_cases import BASES, FOLDED, assert_same, feed, parameters, train
from torch.optim import SGD, AdamW, RAdam

from regrad.optim.sgg import SGG
from regrad.transforms.kmeans import assign, exact_boundaries


@pytest.mark.parametrize("name", BASES)
def test_before_the_first_recluster_the_base_optimizer_is_bit_equal_to_itself(name):
    plain, wrapped = parameters(), parameters()
    expected = train(BASES[name](plain), plain, 4)
    assert_same(train(SGG(BASES[name](wrapped), interval=5), wrapped, 4), expected)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("neutral", [{"clusters": 1}, {"beta3": 1.0}, {"bounds": (1.0, 1.0)}])
def test_one_cluster_and_scales_held_at_one_are_the_base_optimizer(name, neutral):
    plain, wrapped = parameters(), parameters()
    base = BASES[name](plain)
    expected = train(base, plain, 6)
    found = train(SGG(BASES[name](wrapped), interval=2, **neutral), wrapped, 6)
    if "clusters" in neutral or name not in FOLDED:
        assert_same(found, expected)  # S = 1 leaves the displacement bit for bit
    else:  # the folded update is rounded in another order
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BASES)
def test_every_base_optimizer_gets_clusters_and_its_matrices_are_scaled(name):
    plain, wrapped = parameters(), parameters()
    expected = train(BASES[name](plain), plain, 4)
    optimizer = SGG(BASES[name](wrapped), interval=3, beta3=0.0)
    found = train(optimizer, wrapped, 4)
    for p, a, b in zip(wrapped, found, expected, strict=True):
        if p.dim() < 2:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
        else:
            assert not torch.equal(a, b)
            assert set(optimizer.state[p]) == {"index", "scale"}
            assert optimizer.state[p]["index"].dtype == torch.uint8
            assert optimizer.state[p]["index"].shape == p.shape


def test_one_step_of_the_paper_is_the_one_worked_out_by_hand():
    # SGD without momentum clusters |g| = {1, 1, 2, 9} of one tensor: mean 3.25; K = 2: {1, 1, 2} and {9}.
    # |x - 3.25| = 2.25, 2.25, 1.25 | 5.75: D_c = 2.25, 5.75. Second tensor {10, 10, 10, 30}: mean 15, K = 2:
    # D_c = 5, 15. D = (lower) median of {1.25, 2.25, 2.25, 5, 5, 5, 5.75, 15} = 5.
    # S = 0.5 + 0.5 * D / D_c: 1.6111, 0.93478 and 1, 0.66667. theta = 0 - lr * S * g, lr = 0.1
    p, q = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(4, 1))
    p.grad, q.grad = torch.tensor([[1.0, -1], [2, -9]]), torch.tensor([[10.0], [-10], [10], [30]])
    SGG(SGD([p, q], lr=0.1), clusters=2, interval=1, beta3=0.5, grouping="exact").step()
    torch.testing.assert_close(p.detach(), torch.tensor([[-0.161111, 0.161111], [-0.322222, 0.841304]]))
    torch.testing.assert_close(q.detach(), torch.tensor([[-1.0], [1.0], [-1.0], [-2.0]]))


def test_the_median_over_clusters_is_another_global_deviation():
    # {1, 1}, six fives, {9.5}: mean 4.6111, D_c = 3.6111, 0.38889, 4.88889. The median over the entries is that of
    # the fives, the median over the clusters 3.6111: S = 0.5 + 0.5 * 3.6111 / D_c
    p = torch.nn.Parameter(torch.zeros(3, 3))
    settings = {"clusters": 3, "interval": 1, "beta3": 0.5, "grouping": "exact"}
    for choice, expected in [
        ("clusters", [1.0, 0.5 + 0.5 * 9.285714, 0.5 + 0.5 * 0.738636]),
        ("entries", [0.5 + 0.5 * 0.107692, 1.0, 0.5 + 0.5 * 0.1]),  # 0.0795 is clamped
    ]:
        p.grad = torch.tensor([[1.0, 1, 5], [5, 5, 5], [5, 5, 9.5]])
        optimizer = SGG(SGD([p], lr=0.1), global_deviation=choice, **settings)
        optimizer.step()
        torch.testing.assert_close(optimizer.state[p]["scale"], torch.tensor(expected))


def test_the_update_uses_the_scales_of_the_same_step_and_holds_them_in_between():
    params = parameters()
    optimizer = SGG(SGD(params, lr=1.0), interval=3, beta3=0.0)
    p, held = params[0], None
    for step in range(8):
        feed(params, step)
        before = p.detach().clone()
        optimizer.step()
        state = optimizer.state.get(p, {})
        assert bool(state) == (step >= 2)  # the first recluster is the third step's
        scale = state["scale"][state["index"].long()] if state else torch.ones_like(p)
        torch.testing.assert_close(before - p.detach(), scale * p.grad, rtol=1e-4, atol=1e-5)
        if step in (3, 4):
            assert torch.equal(scale, held)
        held = scale


@pytest.mark.parametrize("size", [1e-4, 10.0])
@pytest.mark.parametrize("name", ["AdamW", "RAdam", "Lamb"])
def test_scales_follow_the_equations_on_the_base_optimizers_own_momentum(name, size):
    params = parameters()
    optimizer = SGG(BASES[name](params), interval=5, grouping="exact")
    train(optimizer, params, 5, size=size)
    matrices = [p for p in params if p.dim() > 1]
    values = [optimizer.base.state[p]["exp_avg"].abs().double() for p in matrices]
    pooled = torch.cat([(x - x.mean()).abs().flatten() for x in values]).median()
    for p, x in zip(matrices, values, strict=True):
        index = assign(x, exact_boundaries(x.float(), 3))
        assert torch.equal(optimizer.state[p]["index"], index)
        for c in range(3):
            deviation = (x[index == c] - x.mean()).abs().median()
            expected = 0.99 + 0.01 * float((pooled / (deviation + 1e-8)).clamp(0.1, 10))
            assert float(optimizer.state[p]["scale"][c]) == pytest.approx(expected, rel=1e-5)


def test_the_fast_grouping_gives_nearly_the_scales_of_the_exact_one():
    found = {}
    for grouping in ("histogram", "exact"):
        params = parameters()
        optimizer = SGG(AdamW(params, lr=0.01), interval=5, beta3=0.0, grouping=grouping)
        train(optimizer, params, 5)
        found[grouping] = torch.stack([optimizer.state[p]["scale"] for p in params if p.dim() > 1][:2])
    torch.testing.assert_close(found["histogram"], found["exact"], rtol=0.1, atol=0)


@pytest.mark.parametrize("feature", ["abs_momentum", "momentum", "abs_gradient", "gradient", "second_moment"])
@pytest.mark.parametrize("statistic", ["mda", "mad", "l2", "mean"])
def test_every_feature_and_statistic_gives_finite_scales_within_the_bounds(feature, statistic):
    params = parameters()
    optimizer = SGG(AdamW(params), interval=2, beta3=0.0, feature=feature, statistic=statistic, bounds=(0.2, 5))
    train(optimizer, params, 4)
    scales = torch.stack([state["scale"] for state in optimizer.state.values()])
    assert bool(((scales >= 0.2) & (scales <= 5)).all())
    assert float(scales.std()) > 0


def test_a_second_moment_that_is_not_kept_is_refused_by_name():
    params = parameters()
    optimizer = SGG(SGD(params, lr=0.1), interval=1, feature="second_moment")
    feed(params, 0)
    with pytest.raises(RuntimeError, match="SGD keeps no second moment"):
        optimizer.step()


def test_vectors_and_excluded_parameters_stay_unscaled():
    plain, wrapped = parameters(), parameters()
    expected = train(RAdam(plain), plain, 5)
    optimizer = SGG(RAdam(wrapped), interval=2, beta3=0.0, exclude=[wrapped[1]])
    found = train(optimizer, wrapped, 5)
    assert torch.equal(found[2], expected[2])
    assert torch.equal(found[1], expected[1])
    assert not torch.equal(found[0], expected[0])
    assert wrapped[1] not in optimizer.state


@pytest.mark.parametrize("name", ["AdamW", "AdamW fused", "NAdam", "Adafactor", "CAME"])
def test_decoupled_weight_decay_is_not_scaled_unless_asked_for(name):
    # with a tiny lr-sized update the step is nearly all decay: compare shrinkage with S at its lower bound
    moved = {}
    for scaled in (False, True):
        params = parameters()
        base = BASES[name](params)
        for group in base.param_groups:
            group["weight_decay"] = 50.0  # decay 0.5 per step beside updates of about 0.01
            group["weight_decouple"] = True
        optimizer = SGG(base, interval=1, beta3=0.0, bounds=(0.1, 0.1), scale_weight_decay=scaled)
        before = params[0].detach().clone()
        train(optimizer, params, 1)
        moved[scaled] = float((params[0].detach() / before).median())
    assert moved[False] == pytest.approx(0.5, abs=0.01)
    assert moved[True] == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("materialize", [True, False])
def test_the_materialized_scale_changes_nothing(materialize):
    for name in ("AdamW", "SGD", "NAdam"):
        left, right = parameters(), parameters()
        kept = train(SGG(BASES[name](left), interval=2), left, 5)
        assert_same(train(SGG(BASES[name](right), interval=2, materialize=materialize), right, 5), kept)


def test_the_index_may_live_in_main_memory():
    left, right = parameters(), parameters()
    optimizer = SGG(AdamW(right), interval=2, index_device="cpu")
    assert_same(train(SGG(AdamW(left), interval=2), left, 5), train(optimizer, right, 5))
    assert {state["index"].device.type for state in optimizer.state.values()} == {"cpu"}


def test_the_saved_state_is_a_byte_per_entry_and_a_few_scalars():
    params = parameters()
    optimizer = SGG(AdamW(params), interval=1)
    train(optimizer, params, 2)
    for p in params:
        if p.dim() > 1:
            size = sum(t.numel() * t.element_size() for t in optimizer.state[p].values())
            assert size == p.numel() + 3 * 4


def test_fewer_entries_than_clusters_empty_tensors_and_scalars_are_left_alone():
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in [(1, 2), (0, 3), (3, 2)]]
    optimizer = SGG(SGD(params, lr=0.1), interval=1)
    train(optimizer, params, 3)
    assert set(optimizer.state) == {params[2]}


def test_fewer_values_than_clusters_leave_the_scales_of_empty_clusters_alone():
    p = torch.nn.Parameter(torch.zeros(4, 2))
    for grouping in ("histogram", "exact"):
        p.grad = torch.tensor([[1.0, 1], [1, 1], [1, 1], [5, 5]])
        optimizer = SGG(SGD([p], lr=0.1), interval=1, clusters=4, beta3=0.0, grouping=grouping)
        optimizer.step()
        scale, used = optimizer.state[p]["scale"], optimizer.state[p]["index"].unique().long()
        assert len(used) == 2
        empty = [c for c in range(4) if c not in used]
        assert scale[empty].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_tensors_with_nan_or_infinite_momentum_sit_the_recluster_out(bad):
    params = parameters()
    optimizer = SGG(AdamW(params), interval=2, beta3=0.0)
    train(optimizer, params, 2)
    held = copy.deepcopy(optimizer.state[params[0]])
    other = optimizer.state[params[1]]["scale"].clone()
    feed(params, 2)
    params[0].grad[0, 0] = bad
    optimizer.step()
    feed(params, 3)
    optimizer.step()
    assert torch.equal(optimizer.state[params[0]]["index"], held["index"])
    assert torch.equal(optimizer.state[params[0]]["scale"], held["scale"])
    after = optimizer.state[params[1]]["scale"]
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(after, other)


def test_zero_gradients_leave_scales_and_parameters_alone():
    params = parameters()
    before = [p.detach().clone() for p in params]
    optimizer = SGG(SGD(params, lr=0.1, momentum=0.9), interval=1)
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert not any(optimizer.state.values())
    assert_same([p.detach() for p in params], before)


@pytest.mark.parametrize("name", ["AdamW", "SGD with momentum", "RAdam"])
def test_non_contiguous_parameters_take_the_steps_of_contiguous_ones(name):
    straight = [torch.nn.Parameter(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)))]
    turned = [torch.nn.Parameter(straight[0].detach().t().contiguous().t())]
    assert not turned[0].is_contiguous()
    expected = train(SGG(BASES[name](straight), interval=2, beta3=0.0), straight, 6)
    found = train(SGG(BASES[name](turned), interval=2, beta3=0.0, materialize=False), turned, 6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_keep_float32_scales(dtype):
    params = parameters(dtype=torch.float32)
    params = [torch.nn.Parameter(p.detach().to(dtype)) for p in params]
    optimizer = SGG(AdamW(params, lr=0.01, eps=1e-4), interval=2, beta3=0.0)
    found = train(optimizer, params, 4)
    assert optimizer.state[params[0]]["scale"].dtype == torch.float32
    assert all(bool(torch.isfinite(p).all()) and p.dtype == dtype for p in found)


def test_parameters_without_gradients_are_skipped_and_late_ones_join():
    params = parameters()
    optimizer = SGG(AdamW(params), interval=2, beta3=0.0)
    for step in range(4):
        feed(params, step)
        params[0].grad = None if step < 2 else params[0].grad
        before = params[0].detach().clone()
        optimizer.step()
        assert torch.equal(before, params[0].detach()) == (step < 2)
    assert params[0] in optimizer.state


@pytest.mark.parametrize("name", ["AdamW", "NAdam"])
def test_a_gradient_is_never_changed(name):
    params = parameters()
    optimizer = SGG(BASES[name](params), interval=2)
    for step in range(5):
        feed(params, step)
        before = [p.grad.clone() for p in params]
        optimizer.step()
        assert_same([p.grad for p in params], before)


@pytest.mark.parametrize("variant", ["paper", "public_v2", "public_c4"])
@pytest.mark.parametrize("name", ["AdamW", "SGD with momentum", "Lamb"])
def test_training_resumed_between_two_reclusters_goes_on_bit_for_bit(name, variant):
    params = parameters()
    optimizer = SGG(BASES[name](params), interval=4, variant=variant)
    train(optimizer, params, 6)  # two steps after a recluster
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "params": [p.detach() for p in params]}, file)
    expected = train(optimizer, params, 7, start=6)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = [torch.nn.Parameter(p) for p in saved["params"]]
    twin = SGG(BASES[name](resumed), interval=4, variant=variant)
    twin.load_state_dict(saved["optimizer"])
    assert_same(train(twin, resumed, 7, start=6), expected)


def test_state_round_trips_exactly_for_low_precision_parameters():
    params = [torch.nn.Parameter(p.detach().bfloat16()) for p in parameters()]
    optimizer = SGG(AdamW(params), interval=2)
    train(optimizer, params, 3)
    twin = SGG(AdamW(params), interval=2)
    twin.load_state_dict(optimizer.state_dict())
    for p, state in optimizer.state.items():
        for key, value in state.items():
            assert torch.equal(twin.state[p][key], value)
            assert twin.state[p][key].dtype == value.dtype


@pytest.mark.parametrize("make", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_as_the_original_does(make):
    params = parameters()
    optimizer = SGG(AdamW(params), interval=3, exclude=[params[1]])
    train(optimizer, params, 5)
    twin = make(optimizer)
    others = twin.param_groups[0]["params"]
    assert twin.exclude[0] is others[1]
    assert_same(train(optimizer, params, 5, start=5), train(twin, others, 5, start=5))


def test_a_learning_rate_of_zero_moves_nothing_and_a_tensor_is_accepted():
    for lr in (0.0, torch.tensor(0.0)):
        params = parameters()
        before = [p.detach().clone() for p in params]
        assert_same(train(SGG(AdamW(params, lr=lr), interval=2), params, 5), before)


def test_mean_scale_is_the_entry_weighted_mean_over_all_parameters():
    params = [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(6))]
    params[0].grad, params[1].grad = torch.tensor([[1.0, -1], [2, -9]]), torch.ones(6)
    optimizer = SGG(SGD(params, lr=0.1), clusters=2, interval=1, beta3=0.0, grouping="exact")
    assert optimizer.mean_scale() == 1
    optimizer.step()
    low, high = optimizer.state[params[0]]["scale"].tolist()
    assert optimizer.mean_scale() == pytest.approx((3 * low + high + 6) / 10)


def test_gradient_scalers_unscale_before_the_step():
    found = []
    for scale in (1.0, 2.0**10):
        params = parameters()
        optimizer = SGG(AdamW(params), interval=2)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for step in range(4):
            feed(params, step)
            coefficients = [p.grad.clone() for p in params]
            optimizer.zero_grad()
            loss = sum((p * c).sum() for p, c in zip(params, coefficients, strict=True))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append([p.detach() for p in params])
    assert_same(*found)


def test_schedulers_drive_the_wrapper():
    params, plain = parameters(), parameters()
    optimizer = SGG(AdamW(params, lr=0.1), clusters=1)
    base = AdamW(plain, lr=0.1)
    schedules = [torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=10) for o in (optimizer, base)]
    for step in range(6):
        for o, p, s in zip((optimizer, base), (params, plain), schedules, strict=True):
            feed(p, step)
            o.step()
            s.step()
    assert_same([p.detach() for p in params], [p.detach() for p in plain])
    assert optimizer.param_groups[0]["lr"] == base.param_groups[0]["lr"] != 0.1


def test_it_works_inside_accelerates_wrapper():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 4)
    net, optimizer = accelerator.prepare(net, SGG(AdamW(net.parameters(), lr=0.1), interval=2))
    for _ in range(5):
        accelerator.backward(net(torch.ones(3, 6)).square().sum() + net.weight.square().sum())
        optimizer.step()
        optimizer.zero_grad()
    state = optimizer.state_dict()["state"]
    assert state[0]["wrapper0.index"].dtype == torch.uint8
    assert optimizer.optimizer.progress["steps"] == 5


def test_new_groups_are_scaled_after_the_next_recluster():
    params, late = parameters(), parameters(seed=1)
    optimizer = SGG(AdamW(params), interval=2)
    train(optimizer, params, 3)
    optimizer.add_param_group({"params": iter(late), "lr": 0.5})
    train(optimizer, [*params, *late], 1, start=3)
    assert late[0] in optimizer.state
    assert optimizer.base.param_groups[1]["lr"] == 0.5


def test_sparse_gradients_are_clustered_by_their_dense_form():
    table = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = SGG(torch.optim.SparseAdam(table.parameters()), interval=1)
    for step in range(3):
        optimizer.zero_grad()
        table(torch.tensor([1, 2, step])).pow(2).sum().backward()
        optimizer.step()
    assert table.weight in optimizer.state


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("clusters", 0), ("clusters", 257), ("clusters", True), ("clusters", 2.0), ("interval", 0),
        ("beta3", -0.1), ("beta3", float("nan")), ("beta3", True), ("bounds", (0, 1)), ("bounds", (2, 1)),
        ("bounds", (0.1, float("inf"))), ("bounds", 3), ("eps", 0), ("eps", float("nan")), ("feature", "m"),
        ("statistic", "median"), ("global_deviation", "layers"), ("variant", "v3"), ("grouping", "dbscan"),
        ("centre_decay", 2), ("materialize", 1), ("scale_weight_decay", None), ("index_device", "disk"),
        ("exclude", ["bias"]),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_in_one_line_that_names_them(setting, value):
    with pytest.raises(ValueError, match=setting) as caught:
        SGG(SGD(parameters(), lr=0.1), **{setting: value})
    assert "\n" not in str(caught.value)


def test_complex_parameters_are_refused():
    z = torch.nn.Parameter(torch.zeros(3, 3, dtype=torch.complex64))
    with pytest.raises(ValueError, match="complex"):
        SGG(SGD([z], lr=0.1))
