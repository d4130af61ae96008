"""Ours where torch's optimizers and scalers stand: checkpoints, compilation, schedule-free bases, loops of others."""

import copy
import io

import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import SGD, AdamW

from regrad.optim.dgs import DGS
from regrad.optim.micro_adam import MicroAdam
from regrad.optim.sgg import SGG
from regrad.optim.sign_sgd import SignSGD
from regrad.perexample.engine import gradient_statistics
from regrad.scaling.alsdgc import ALSDGC

OURS = {
    "SGG(AdamW)": lambda net: SGG(AdamW(net.parameters(), 0.01), interval=2),
    "SGG(SGD)": lambda net: SGG(SGD(net.parameters(), 0.01), interval=2),
    "SGG(SGG)": lambda net: SGG(SGG(AdamW(net.parameters(), 0.01), interval=2), interval=3, clusters=2),
    "MicroAdam": lambda net: MicroAdam(net.named_parameters(), 0.01, preconditioner="adam"),
    "SignSGD": lambda net: SignSGD(net.parameters(), 0.01),
    "DGS": lambda net: DGS(net.parameters(), 0.01, momentum=0.9),
}


def net(seed=0):
    random = torch.Generator().manual_seed(seed)
    made = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=random))
    return made


def losses(model, x):
    return model(x).square().sum(1)


def batch(step):
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(step))


def train(model, optimizer, steps):
    for step in steps:
        optimizer.zero_grad()
        losses(model, batch(step)).mean().backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
@pytest.mark.parametrize("trained", [1, 3, 5])
def test_torch_s_checkpoints_go_on_bit_for_bit_and_disturb_nothing(make, trained):
    """get_optimizer_state_dict steps an optimizer that seems to have no state; between step 1 and 2 SGG seemed so."""
    model = net()
    optimizer = make(model)
    train(model, optimizer, range(trained))
    optimizer.zero_grad()
    other = copy.deepcopy(model)
    saved = get_optimizer_state_dict(model, optimizer)
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    restored = make(other)
    set_optimizer_state_dict(other, restored, torch.load(file, weights_only=True))
    expected = train(model, optimizer, range(10, 17))
    assert same(train(other, restored, range(10, 17)), expected)
    straight = net()
    alone = make(straight)
    train(straight, alone, range(trained))
    assert same(train(straight, alone, range(10, 17)), expected)


def test_a_checkpoint_of_before_can_still_be_read():
    model = net()
    optimizer = OURS["SGG(AdamW)"](model)
    train(model, optimizer, range(3))
    own = torch.optim.Optimizer.state_dict(optimizer)
    own["progress"] = dict(optimizer.progress)
    old = copy.deepcopy({"wrapper": own, "base": optimizer.base.state_dict()})
    other = copy.deepcopy(model)
    restored = OURS["SGG(AdamW)"](other)
    restored.load_state_dict(old)
    assert same(train(other, restored, range(3, 9)), train(model, optimizer, range(3, 9)))


@pytest.mark.parametrize("name", OURS)
def test_a_step_inside_a_compiled_function_is_the_step(name):
    model, twin = net(), net()
    optimizer, other = OURS[name](model), OURS[name](twin)
    for run in (optimizer, other):
        owner = model if run is optimizer else twin
        step = torch.compile(run.step, backend="eager") if run is optimizer else run.step
        for number in range(4):
            run.zero_grad()
            losses(owner, batch(number)).mean().backward()
            step()
    assert all(torch.allclose(p, q, rtol=1e-6) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_schedule_free_bases_are_switched_through_the_wrapper():
    model = net()
    optimizer = SGG(pytorch_optimizer.ScheduleFreeAdamW(model.parameters(), lr=0.01), interval=2)
    optimizer.train()
    weights = train(model, optimizer, range(4))
    optimizer.eval()
    assert not same(weights, list(model.parameters()))
    optimizer.train()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weights, model.parameters(), strict=True))
    SGG(AdamW(net().parameters())).eval()  # others have no modes, and loops call it all the same


@pytest.mark.parametrize("preconditioner", ["micro", "variance", 0.25])
def test_sgg_around_micro_adam_is_micro_adam_with_its_update_scaled(preconditioner):
    """With scales of one it is MicroAdam bit for bit; after a recluster the update is S times MicroAdam's."""
    model, plain = net(), net()
    wrapped = SGG(
        MicroAdam(model.named_parameters(), 0.01, preconditioner=preconditioner, weight_decay=0.1), interval=3
    )
    alone = MicroAdam(plain.named_parameters(), 0.01, preconditioner=preconditioner, weight_decay=0.1)
    for step in range(4):
        given = gradient_statistics(model, losses, batch(step), ["mean", "variance"])
        kept = {kind: {name: t.clone() for name, t in tensors.items()} for kind, tensors in given.items()}
        before = [p.detach().clone() for p in model.parameters()]
        if step == 3:
            plain.load_state_dict(model.state_dict())
        wrapped.step(statistics=given, batch_size=8)
        alone.step(statistics=kept, batch_size=8)
        assert all(p.grad is None for p in model.parameters())
        if step < 2:
            assert same(model.parameters(), plain.parameters())
        if step == 2:
            assert len(wrapped.state[model[0].weight]["scale"].unique()) > 1
    p, q, start = model[0].weight, plain[0].weight, before[0] * (1 - 0.01 * 0.1)
    scale = wrapped.state[p]["scale"][wrapped.state[p]["index"].int()]
    assert torch.allclose(p - start, scale * (q - start), atol=1e-6)


def test_statistics_reach_micro_adam_through_a_loop_that_calls_a_plain_step():
    model, twin = net(), net()
    handed = SGG(MicroAdam(model.named_parameters(), 0.01), clusters=1)
    direct = MicroAdam(twin.named_parameters(), 0.01)
    for step in range(3):
        given = gradient_statistics(model, losses, batch(step), ["mean", "variance"])
        handed.hand_over(statistics=given, batch_size=8)
        handed.step()
        direct.step(statistics=given, batch_size=8)
    assert same(model.parameters(), twin.parameters())
    losses(model, batch(0)).mean().backward()
    with pytest.raises(ValueError, match="needs the statistic"):
        handed.step()  # handed over once, used once
    with pytest.raises(ValueError, match="AdamW takes no statistics"):
        SGG(AdamW(net().parameters())).hand_over(statistics={})


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_wrapped_models_are_understood(prefix):
    """DistributedDataParallel and torch.compile put a word before every name; nothing may be skipped for it."""
    model, twin = net(), net()
    named = [(prefix + name, p) for name, p in model.named_parameters()]
    optimizer, other = MicroAdam(named, 0.01), MicroAdam(twin.named_parameters(), 0.01)
    given = gradient_statistics(model, losses, batch(0), ["mean", "variance"])
    optimizer.step(statistics=given, batch_size=8)
    other.step(statistics=given, batch_size=8)
    assert same(model.parameters(), twin.parameters())
    assert len(optimizer.state) == 4


def test_representations_show_the_settings():
    text = repr(SGG(AdamW(net().parameters()), clusters=4, feature="gradient"))
    assert text.startswith(
        "SGG(clusters=4, interval=500, beta3=0.99, feature='gradient', variant='paper') around AdamW ("
    )
    scaler = ALSDGC("V3", multiple=3.0)
    assert repr(scaler) == "ALSDGC('V3', multiple=3.0)  # scale 65536"
    assert "enabled=False" in repr(ALSDGC(enabled=False))


class TestALSDGCHasWhatGradScalerHas:
    def one_step(self, scaler, make=lambda model: SGD(model.parameters(), 0.1), **options):
        model = net()
        optimizer = make(model)
        scaler.scale(losses(model, batch(0)).mean()).backward()
        answer = scaler.step(optimizer, **options)
        scaler.update()
        return model, answer

    def test_a_loss_that_was_never_scaled_is_refused_and_nothing_moves(self):
        for variant in ("V0", "V1", "V2", "V3", "V4"):
            model = net()
            before = [p.detach().clone() for p in model.parameters()]
            losses(model, batch(0)).mean().backward()
            with pytest.raises(RuntimeError, match=r"no loss has been scaled: call scaler.scale\(loss\)"):
                ALSDGC(variant).step(SGD(model.parameters(), 0.1))
            assert same(before, model.parameters())

    def test_disabled_it_does_nothing(self):
        scaler, theirs = ALSDGC(enabled=False), torch.amp.GradScaler("cpu", enabled=False)
        assert same(self.one_step(scaler)[0].parameters(), self.one_step(theirs)[0].parameters())
        assert (scaler.is_enabled(), scaler.get_scale(), scaler.state_dict()) == (False, 1.0, {})
        scaler.load_state_dict({})
        assert ALSDGC().is_enabled()

    def test_the_scale_can_be_set(self):
        scaler = ALSDGC()
        scaler.update(new_scale=torch.tensor(8.0))
        assert scaler.get_scale() == 8.0
        assert same(self.one_step(scaler)[0].parameters(), self.one_step(ALSDGC(init_scale=8.0))[0].parameters())
        with pytest.raises(ValueError, match="new_scale"):
            scaler.update(0.0)

    def test_options_reach_the_optimizer_and_a_closure_does_not(self):
        seen = []

        class Listening(SGD):
            def step(self, closure=None, *, words=None):
                seen.append(words)
                return "stepped"

        def make(model):
            return Listening(model.parameters(), 0.1)

        assert self.one_step(ALSDGC(), make, words="heard")[1] == "stepped"
        assert seen == ["heard"]
        with pytest.raises(RuntimeError, match="closure is not supported"):
            self.one_step(ALSDGC(), make, closure=lambda: 0.0)
