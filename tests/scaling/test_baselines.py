"""The scalers and clippers one would use instead: each against its formula, and all against bad gradients."""

import copy
import io
import math

import numpy as np
import pytest
import torch

from regrad.scaling.baselines import CLIPPERS, SCALERS, ClippedScaler, FixedScaler
from regrad.scaling.clippers import AutoClip, EMAClip, FixedClip
from regrad.scaling.third_party import AGC, OPTIMIZERS, ZClip

ARMS = {
    "none": ("none", {}),
    "fixed": ("fixed", {"max_norm": 0.5}),
    "autoclip10": ("autoclip", {"percent": 10.0}),
    "autoclip50": ("autoclip", {"percent": 50.0}),
    "autoclip90": ("autoclip", {"percent": 90.0}),
    "zclip": ("zclip", {}),
    "zclip_capped": ("zclip", {"capped": True}),
    "agc": ("agc", {}),
    "ema": ("ema", {"warmup_steps": 3}),
}
SCALER_ARMS = {
    "fixed": lambda: FixedScaler(scale=128.0),
    "grad_scaler": lambda: torch.amp.GradScaler("cpu", growth_interval=4),
}


def norms_after(clipper, norms):
    """Clip one gradient after another and return the norms the optimizer would see."""
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    seen = []
    for norm in norms:
        param.grad = norm * torch.tensor([0.6, 0.8], dtype=torch.float64)
        clipper.clip_([param])
        seen.append(param.grad.norm().item())
    return seen


def random_norms(steps=80):
    rng = np.random.default_rng(0)
    norms = rng.lognormal(0.0, 0.5, steps)
    norms[30::10] *= 50
    return norms.tolist()


class TestClippers:
    def test_no_clip_leaves_gradients_as_they_are_to_the_bit(self):
        param = torch.nn.Parameter(torch.zeros(2))
        param.grad = torch.tensor([1e30, -1e-30])
        CLIPPERS["none"]().clip_([param])
        assert param.grad.tolist() == torch.tensor([1e30, -1e-30]).tolist()

    def test_fixed_clip_is_clip_grad_norm_to_the_bit(self):
        params = [torch.nn.Parameter(torch.randn(3)) for _ in range(3)]
        for param in params[:2]:
            param.grad = torch.randn(3)
        twins = copy.deepcopy(params)
        for param, twin in zip(params[:2], twins[:2], strict=True):
            twin.grad = param.grad.clone()
        FixedClip(max_norm=0.7).clip_(params)
        torch.nn.utils.clip_grad_norm_(twins, 0.7)
        assert all(p.grad.equal(t.grad) for p, t in zip(params[:2], twins[:2], strict=True))
        assert params[2].grad is None

    @pytest.mark.parametrize("percent", [10.0, 50.0, 90.0])
    def test_autoclip_clips_to_numpys_percentile_of_all_norms_so_far(self, percent):
        norms = random_norms()
        expected = [min(n, np.percentile(norms[: t + 1], percent)) for t, n in enumerate(norms)]
        assert norms_after(AutoClip(percent=percent), norms) == pytest.approx(expected, rel=1e-5)

    def test_autoclip_by_hand(self):
        # norms 1, 3: median 2; 1, 2, 3: median 2; 1, 2, 3, 9: median 2.5
        clipped = norms_after(AutoClip(percent=50.0), [1.0, 3.0, 2.0, 9.0])
        assert clipped == pytest.approx([1, 2, 2, 2.5], rel=1e-5)

    def test_ema_clip_by_hand(self):
        # mean of 1 and 3 is 2, threshold 4; 10 -> 4, mean 3, threshold 6; 10 -> 6
        clipped = norms_after(EMAClip(beta=0.5, warmup_steps=2), [1.0, 3.0, 10.0, 10.0])
        assert clipped == pytest.approx([1, 3, 4, 6], rel=1e-5)

    def test_zclip_follows_its_paper(self):
        # 25 norms of 1 and 1.2 in the warm-up, one more in the running mean; then mu + 2.5**2 * sd / z
        norms = [1.0, 1.2] * 13
        mean = 0.97 * np.mean(norms[:25]) + 0.03 * 1.2
        var = 0.97 * np.var(norms[:25]) + 0.03 * (1.2 - mean) ** 2
        z = (5.0 - mean) / (math.sqrt(var) + 1e-6)
        expected = mean + 2.5**2 * math.sqrt(var) / z
        assert norms_after(ZClip(), [*norms, 5.0])[-1] == pytest.approx(expected, rel=1e-6)

    def test_zclip_as_packaged_also_caps_every_norm_at_one(self):
        norms = random_norms()
        assert max(norms_after(ZClip(capped=True), norms)) <= 1.0
        assert max(norms_after(ZClip(), norms)) > 1.0

    def test_agc_follows_its_paper_per_unit_and_spares_the_last_parameters(self):
        weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        bias = torch.nn.Parameter(torch.tensor([1.0]))
        weight.grad = torch.tensor([[30.0, 40.0], [0.3, 0.4]])
        bias.grad = torch.tensor([7.0])
        AGC(ratio=0.1, eps=1e-3, skip_last=1).clip_([weight, bias])
        # row 0: |w| = 5, so |g| <= 0.5; row 1: |w| = 0 counts as 1e-3, so |g| <= 1e-4
        torch.testing.assert_close(weight.grad, torch.tensor([[0.3, 0.4], [6e-5, 8e-5]]))
        assert bias.grad.item() == 7.0

    @pytest.mark.parametrize(
        ("build", "name"),
        [
            (lambda v: FixedClip(max_norm=v), "max_norm"),
            (lambda v: AutoClip(percent=v), "percent"),
            (lambda v: EMAClip(multiple=v), "multiple"),
            (lambda v: EMAClip(beta=v), "beta"),
            (lambda v: EMAClip(warmup_steps=v), "warmup_steps"),
            (lambda v: ZClip(capped=v), "capped"),
            (lambda v: AGC(ratio=v), "ratio"),
            (lambda v: AGC(eps=v), "eps"),
            (lambda v: AGC(skip_last=v), "skip_last"),
            (lambda v: FixedScaler(scale=v), "scale"),
            (lambda v: OPTIMIZERS["lamb"]([torch.ones(1)], lr=v), "lr"),
            (lambda v: OPTIMIZERS["adagc"]([torch.ones(1)], weight_decay=v), "weight_decay"),
        ],
    )
    @pytest.mark.parametrize("value", [-1.0, math.nan, "1", None])
    def test_bad_settings_are_refused_by_name(self, build, name, value):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            build(value)


class TestScalers:
    def build(self, arm, scaler="fixed"):
        name, settings = ARMS[arm]
        return ClippedScaler(SCALER_ARMS[scaler](), CLIPPERS[name](**settings))

    def run(self, scaler, weights, optimizer, start, end):
        """Train with spikes at every fifth step and an overflow at step 12."""
        for t in range(start, end):
            optimizer.zero_grad()
            factor = math.inf if t == 12 else 50.0 if t % 5 == 4 else 1.0
            loss = sum(((w - 1.0) ** 2).sum() for w in weights) * factor
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    def fresh(self):
        generator = torch.Generator().manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (3,))]
        return weights, torch.optim.SGD(weights, lr=0.01, momentum=0.9)

    @pytest.mark.parametrize("scaler", SCALER_ARMS)
    @pytest.mark.parametrize("arm", ARMS)
    def test_every_arm_trains_skips_what_is_not_finite_and_resumes_to_the_bit(self, arm, scaler):
        straight, (weights, optimizer) = self.build(arm, scaler), self.fresh()
        self.run(straight, weights, optimizer, 0, 40)
        assert all(w.isfinite().all() for w in weights)
        for stop in (2, 13, 33):
            first, (w1, o1) = self.build(arm, scaler), self.fresh()
            self.run(first, w1, o1, 0, stop)
            buffer = io.BytesIO()
            torch.save([[w.detach() for w in w1], o1.state_dict(), first.state_dict()], buffer)
            buffer.seek(0)
            saved_weights, saved_optimizer, saved_scaler = torch.load(buffer, weights_only=True)
            second, (w2, o2) = self.build(arm, scaler), self.fresh()
            for w, saved in zip(w2, saved_weights, strict=True):
                w.data.copy_(saved)
            o2.load_state_dict(saved_optimizer)
            second.load_state_dict(saved_scaler)
            self.run(second, w2, o2, stop, 40)
            assert all(a.equal(b) for a, b in zip(w2, weights, strict=True))
            assert second.state_dict() == straight.state_dict()

    @pytest.mark.parametrize("arm", ARMS)
    def test_a_step_that_is_not_finite_leaves_weights_and_clipper_as_they_were(self, arm):
        scaler, (weights, optimizer) = self.build(arm), self.fresh()
        self.run(scaler, weights, optimizer, 0, 12)
        before = copy.deepcopy([weights, optimizer.state_dict(), scaler.state_dict()])
        self.run(scaler, weights, optimizer, 12, 13)
        assert all(a.equal(b) for a, b in zip(weights, before[0], strict=True))
        assert str(optimizer.state_dict()) == str(before[1])
        assert scaler.state_dict() == before[2]

    def test_one_infinity_in_one_tensor_is_enough(self):
        scaler, (weights, optimizer) = self.build("autoclip10"), self.fresh()
        scaler.scale(weights[0].sum() + weights[1].sum() * math.inf).backward()
        scaler.step(optimizer)
        assert scaler.state_dict()["clippers"] == [{"norms": []}]
        assert weights[0].equal(self.fresh()[0][0])

    @pytest.mark.parametrize("scaler", SCALER_ARMS)
    @pytest.mark.parametrize("arm", ARMS)
    def test_a_step_without_gradients_changes_nothing(self, arm, scaler):
        clipped, (weights, optimizer) = self.build(arm, scaler), self.fresh()
        self.run(clipped, weights, optimizer, 0, 5)
        before = copy.deepcopy([weights, clipped.state_dict()])
        optimizer.zero_grad()
        clipped.unscale_(optimizer)
        clipped.step(optimizer)
        clipped.update()
        assert all(a.equal(b) for a, b in zip(weights, before[0], strict=True))
        assert clipped.state_dict() == before[1]
        self.run(clipped, weights, optimizer, 5, 6)

    def test_without_scale_and_clip_training_is_plain_to_the_bit(self):
        weights, optimizer = self.fresh()
        self.run(ClippedScaler(FixedScaler(), CLIPPERS["none"]()), weights, optimizer, 0, 12)
        plain, plain_optimizer = self.fresh()
        for t in range(12):
            plain_optimizer.zero_grad()
            (sum(((w - 1.0) ** 2).sum() for w in plain) * (50.0 if t % 5 == 4 else 1.0)).backward()
            plain_optimizer.step()
        assert all(a.equal(b) for a, b in zip(weights, plain, strict=True))

    def test_grad_scaler_with_a_fixed_clip_is_what_a_user_writes_to_the_bit(self):
        weights, optimizer = self.fresh()
        self.run(self.build("fixed", "grad_scaler"), weights, optimizer, 0, 40)
        theirs, their_optimizer = self.fresh()
        scaler = torch.amp.GradScaler("cpu", growth_interval=4)
        for t in range(40):
            their_optimizer.zero_grad()
            factor = math.inf if t == 12 else 50.0 if t % 5 == 4 else 1.0
            scaler.scale(sum(((w - 1.0) ** 2).sum() for w in theirs) * factor).backward()
            scaler.unscale_(their_optimizer)
            torch.nn.utils.clip_grad_norm_(theirs, 0.5)
            scaler.step(their_optimizer)
            scaler.update()
        assert all(a.equal(b) for a, b in zip(weights, theirs, strict=True))

    def test_each_optimizer_has_a_clipper_of_its_own(self):
        scaler = ClippedScaler(FixedScaler(), AutoClip(percent=100.0))
        weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
        optimizers = [torch.optim.SGD([w], lr=1.0) for w in weights]
        scaler.scale(weights[0].sum() + 9.0 * weights[1].sum()).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        assert [state["norms"] for state in scaler.state_dict()["clippers"]] == [[1.0], [9.0]]

    def test_fixed_scaler_refuses_to_unscale_twice(self):
        weights, optimizer = self.fresh()
        scaler = FixedScaler(scale=8.0)
        scaler.scale(weights[0].sum()).backward()
        scaler.unscale_(optimizer)
        with pytest.raises(RuntimeError, match="once per optimizer"):
            scaler.unscale_(optimizer)

    def test_all_scalers_share_the_calls_of_an_iteration(self):
        for name, build in SCALERS.items():
            scaler = build(**({"device": "cpu"} if name == "grad_scaler" else {}))
            for call in ("scale", "unscale_", "step", "update", "get_scale", "state_dict", "load_state_dict"):
                assert callable(getattr(scaler, call))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_library_optimizers_learn(name):
    weight = torch.nn.Parameter(torch.full((4, 3), 5.0))
    optimizer = OPTIMIZERS[name]([weight], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        ((weight - 1.0) ** 2).sum().backward()
        optimizer.step()
    assert ((weight - 1.0) ** 2).sum().item() < 0.5 * 12 * 16


def test_every_lamb_step_is_lr_times_the_weight_norm_long():
    # the trust ratio sees to that whatever Adam's direction; norms below 10 are not cut
    weight = torch.nn.Parameter(torch.full((4,), 1.0))
    optimizer = OPTIMIZERS["lamb"]([weight], lr=0.1)
    for _ in range(3):
        before = weight.detach().clone()
        weight.grad = torch.tensor([1.0, -3.0, 0.5, 2.0])
        optimizer.step()
        assert (weight - before).norm().item() == pytest.approx(0.1 * before.norm().item(), rel=1e-4)


def test_adagc_holds_a_spike_to_1_05_of_the_tensors_average_norm():
    # betas[0] = 0.9: the first moment after the spike is 0.9 * m + 0.1 * 1.05 * gamma * direction
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = OPTIMIZERS["adagc"]([weight], lr=0.0)
    for _ in range(150):
        weight.grad = torch.tensor([0.3, 0.4])
        optimizer.step()
    before = optimizer.state[weight]["exp_avg"].clone()
    weight.grad = 1000 * torch.tensor([0.3, 0.4])
    optimizer.step()
    added = optimizer.state[weight]["exp_avg"] - 0.9 * before
    torch.testing.assert_close(added, 0.1 * 1.05 * torch.tensor([0.3, 0.4]), rtol=1e-3, atol=0)
