"""The compiled step of SGG beside its definition, and what it does not take."""

import copy

import pytest
import torch
from sgg_cases import feed, parameters
from torch.optim import SGD, Adam, AdamW

from regrad.optim import sgg_compiled
from regrad.optim.sgg import SGG


@pytest.fixture(scope="module")
def compiler():
    try:
        sgg_compiled.kernel()
    except ValueError as error:
        pytest.skip(str(error))


BASES = {
    "AdamW fused": lambda p: AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    "Adam, maximize": lambda p: Adam(p, lr=0.01, weight_decay=0.1, maximize=True),
    "two groups": lambda p: AdamW([{"params": p[:2], "lr": 0.02}, {"params": p[2:], "weight_decay": 0.0}], lr=0.01),
}


def taken(monkeypatch):
    calls, step = [], sgg_compiled.compiled_step
    monkeypatch.setattr("regrad.optim.sgg.compiled_step", lambda *given: calls.append(1) or step(*given))
    return calls


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("materialize", [True, False])
def test_it_is_the_step_of_the_plain_path(compiler, monkeypatch, base, materialize):
    calls, mine, theirs = taken(monkeypatch), parameters(), parameters()
    fast = SGG(base(mine), interval=3, compiled=True, materialize=materialize)
    plain = SGG(base(theirs), interval=3)
    for step in range(10):
        versions, before = [p._version for p in mine], len(calls)
        for params, optimizer in ((mine, fast), (theirs, plain)):
            feed(params, step)
            optimizer.step()
        if len(calls) > before:  # autograd must notice, as it does an operation
            assert all(p._version > version for p, version in zip(mine, versions, strict=True))
    assert len(calls) == 5  # steps 4, 5, 7, 8 and 10: the others are before the first recluster, or recluster
    for p, q in zip(mine, theirs, strict=True):
        assert torch.allclose(p, q, rtol=1e-5, atol=1e-6)
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.allclose(fast.base.state[p][name], plain.base.state[q][name], rtol=1e-5, atol=1e-7)
        assert float(fast.base.state[p]["step"]) == 10


def test_what_it_does_not_take_goes_the_plain_way_with_its_bits(compiler, monkeypatch):
    calls = taken(monkeypatch)
    for base in (lambda p: SGD(p, lr=0.01), lambda p: AdamW(p, lr=0.01, amsgrad=True)):
        mine, theirs = parameters(), parameters()
        fast, plain = SGG(base(mine), interval=2, compiled=True), SGG(base(theirs), interval=2)
        for step in range(5):
            for params, optimizer in ((mine, fast), (theirs, plain)):
                feed(params, step)
                optimizer.step()
        assert all(torch.equal(p, q) for p, q in zip(mine, theirs, strict=True))
    wide = parameters(dtype=torch.float64)
    optimizer = SGG(AdamW(wide), interval=2, compiled=True)
    for step in range(3):
        feed(wide, step)
        optimizer.step()
    assert calls == []


def test_several_threads_have_the_same_bits(compiler):
    mine = parameters()
    optimizer = SGG(AdamW(mine, lr=0.01), interval=2, compiled=True)
    for step in range(2):
        feed(mine, step)
        optimizer.step()
    twin = copy.deepcopy(optimizer)
    before = torch.get_num_threads()
    for run, threads in ((optimizer, 1), (twin, 2)):
        torch.set_num_threads(threads)
        feed([p for group in run.param_groups for p in group["params"]], 2)
        run.step()
    torch.set_num_threads(before)
    others = [p for group in twin.param_groups for p in group["params"]]
    assert all(torch.equal(p, q) for p, q in zip(mine, others, strict=True))


def test_without_a_compiler_it_is_refused_when_it_is_made(monkeypatch):
    sgg_compiled.kernel.cache_clear()

    def missing(*given, **flags):
        raise RuntimeError("no g++ here")

    monkeypatch.setattr("torch._inductor.codecache.CppCodeCache.load", missing)
    with pytest.raises(ValueError, match=r"compiled=True needs a C\+\+ compiler .*no g\+\+ here"):
        SGG(AdamW(parameters()), compiled=True)
    sgg_compiled.kernel.cache_clear()
