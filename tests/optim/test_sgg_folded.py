"""The folded steps against the general path and against torch, which they replace."""

import pytest
import torch
from sgg_cases import assert_same, feed, parameters, train
from torch.optim import SGD, Adam, AdamW

from regrad.optim import sgg_folded
from regrad.optim.sgg import SGG
from regrad.optim.sgg_folded import EntryScale, folded_step, folds
from regrad.transforms.scaled_steps import adam_step, fused_adam_step

BASES = {
    "Adam": lambda p: Adam(p, lr=0.01),
    "Adam coupled decay": lambda p: Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1, betas=(0.8, 0.95)),
    "AdamW maximize": lambda p: AdamW(p, lr=0.01, weight_decay=0.1, maximize=True),
    "Adam coupled decay, maximize": lambda p: Adam(p, lr=0.01, weight_decay=0.1, maximize=True),
    "SGD": lambda p: SGD(p, lr=0.1),
    "SGD nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "SGD dampening": lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.3, maximize=True, weight_decay=0.1),
}


@pytest.fixture(params=[7, 1 << 18])
def block(request, monkeypatch):
    """Blocks smaller than the tensors, and larger."""
    monkeypatch.setattr(sgg_folded, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("materialize", [True, False])
def test_the_folded_step_is_the_general_path_in_float64(name, materialize):
    folded, general = parameters(dtype=torch.float64), parameters(dtype=torch.float64)
    one = SGG(BASES[name](folded), interval=2, beta3=0.0, materialize=materialize)
    other = SGG(BASES[name](general), interval=2, beta3=0.0)
    other.base.register_step_pre_hook(lambda *_: None)  # hooks rule folding out
    left, right = train(one, folded, 7), train(other, general, 7)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("name", BASES)
def test_parameters_without_a_scale_take_torchs_own_step_bit_for_bit(name):
    plain, folded = parameters(), parameters()
    base, other = BASES[name](plain), BASES[name](folded)
    train(base, plain, 2)
    train(other, folded, 2)
    for step in range(2, 5):
        feed(plain, step)
        feed(folded, step)
        base.step()
        with torch.no_grad():
            folded_step(other, {})
    assert_same([p.detach() for p in folded], [p.detach() for p in plain])
    for p, q in zip(plain, folded, strict=True):
        for key, value in base.state[p].items():
            assert value is None or torch.equal(value, other.state[q][key])


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_the_fused_kernel_gives_the_plain_formulas_step(maximize, decoupled):
    random = torch.Generator().manual_seed(0)
    settings = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.5}
    settings |= {"maximize": maximize, "decoupled_weight_decay": decoupled}
    results = []
    draws = [torch.rand(4, 50, generator=random, dtype=torch.float64) + 0.1 for _ in range(2)]
    for step in (adam_step, fused_adam_step):
        columns = [[draw[i].clone() for draw in draws] for i in range(4)]
        params, grads, m, v = columns
        scales = [draw[0] * 3 for draw in draws]
        step(params, grads, (m, v), steps=[3, 8], settings=settings, scales=scales)
        assert_same(grads, [draw[1] for draw in draws])
        results.append([*params, *m, *v])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


def test_what_the_formulas_do_not_cover_is_not_folded():
    def answer(base, params, scales=None):
        feed(params, 0)
        base.step()
        scale = EntryScale(torch.ones(24, 16), torch.zeros(24, 16, dtype=torch.uint8), torch.ones(1))
        return folds(base, scales if scales is not None else {params[0]: scale})

    params = parameters()
    assert answer(AdamW(params), params)
    assert answer(SGD(params, lr=0.1, momentum=0.9), params)
    assert not answer(AdamW(params, amsgrad=True), params)
    assert not answer(AdamW(params, fused=True), params)
    assert not answer(AdamW(params, lr=torch.tensor(0.1)), params)
    assert not answer(torch.optim.NAdam(params), params)
    assert not answer(type("Own", (AdamW,), {})(params), params)
    scheduled = AdamW(params)
    schedule = torch.optim.lr_scheduler.ConstantLR(scheduled)
    assert not answer(scheduled, params)
    del schedule
    assert not folds(AdamW(params), {})  # new: no state yet
    low = [torch.nn.Parameter(p.detach().bfloat16()) for p in params]
    scale = EntryScale(None, torch.zeros(24, 16, dtype=torch.uint8), torch.ones(1))
    assert not answer(AdamW(low), low, {low[0]: scale})
