"""V2 against torch.amp.GradScaler, step for step; and how often either waits for the device."""

import math
import random
import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from regrad.scaling import admission
from regrad.scaling.alsdgc import ALSDGC
from regrad.scaling.baselines import FixedScaler

UNBOUNDED = {"min_scale": 0.0, "max_scale": 2.0**127}
PATTERNS = 1000  # a hundred times as many as any wrong rule of a constant, a reset or a rounding survives


def step_by_step(scaler, gradients, dtype):
    """Step on each slope, scaled and rounded to ``dtype``; return (scale, good steps, weight) after each."""
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    seen = []
    for slope in gradients:
        scaled = scaler.scale(torch.tensor(slope))
        weight.grad = scaled.to(dtype).float()
        scaler.step(optimizer)
        scaler.update()
        state = scaler.state_dict()
        good_steps = state["good_steps"] if "good_steps" in state else state["_growth_tracker"]
        seen.append((scaler.get_scale(), good_steps, weight.item()))
    return seen


def random_pattern(rng):
    """Return a run's constants and gradients: overflows forced at random or caused by float16's range."""
    constants = {
        "init_scale": 2.0 ** rng.randint(0, 20),
        "growth_interval": rng.randint(1, 5),
        "growth_factor": rng.choice([2.0, 2.0, 1.7]),
        "backoff_factor": rng.choice([0.5, 0.5, 0.3]),
    }
    rate, size = rng.random(), 10.0 ** rng.uniform(-2, 2)
    bad = (math.inf, -math.inf, math.nan)
    steps = range(rng.randint(1, 15))
    slopes = [rng.choice(bad) if rng.random() < rate else rng.gauss(0, size) for _ in steps]
    return constants, slopes, rng.choice([torch.float16, torch.float32])


def test_v2_skips_grows_and_steps_like_grad_scaler_over_1000_random_overflow_patterns():
    rng = random.Random(0)
    steps = skipped = 0
    for _ in range(PATTERNS):
        constants, slopes, dtype = random_pattern(rng)
        theirs = step_by_step(torch.amp.GradScaler("cpu", **constants), slopes, dtype)
        ours = step_by_step(ALSDGC("V2", init_threshold=math.inf, **UNBOUNDED, **constants), slopes, dtype)
        assert ours == theirs
        steps += len(slopes)
        skipped += sum(after[1] == 0 for after in theirs)
    assert 0.2 < skipped / steps < 0.9  # the patterns are neither empty nor all overflow


def test_with_the_printed_bounds_v2_is_grad_scaler_until_that_leaves_them():
    rng = random.Random(1)
    compared = left = 0
    for _ in range(300):
        constants, slopes, dtype = random_pattern(rng)
        constants["init_scale"] = 2.0 ** rng.randint(3, 13)
        theirs = step_by_step(torch.amp.GradScaler("cpu", **constants), slopes, dtype)
        ours = step_by_step(ALSDGC("V2", init_threshold=math.inf, **constants), slopes, dtype)
        inside = next((t for t, (scale, *_) in enumerate(theirs) if not 1 <= scale <= 2**16), len(theirs))
        assert ours[:inside] == theirs[:inside]
        compared += inside
        left += inside < len(theirs)
    assert compared > 1200
    assert left > 6


def autocast_run(scaler, steps=60):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator)
    y = x.sum(1, keepdim=True).tanh()
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator) / 2) for shape in ((12, 6), (12,), (1, 12))]
    optimizer = torch.optim.SGD(weights, lr=0.01, momentum=0.9)
    losses, scales = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            hidden = torch.nn.functional.linear(x, weights[0], weights[1]).relu()
            loss = ((torch.nn.functional.linear(hidden, weights[2]).float() - y) ** 2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        scales.append(scaler.get_scale())
    return losses, scales


def test_in_real_float16_autocast_v2_equals_grad_scaler_to_the_bit():
    constants = {"init_scale": 2.0**22, "growth_interval": 7}
    theirs = autocast_run(torch.amp.GradScaler("cpu", **constants))
    ours = autocast_run(ALSDGC("V2", init_threshold=math.inf, **UNBOUNDED, **constants))
    assert ours == theirs
    assert min(theirs[1]) < 2.0**22  # it did overflow
    assert len(set(theirs[1])) > 2


@pytest.mark.parametrize("variant", ["V2", "V3", "V4"])
def test_in_real_float16_autocast_the_repaired_rungs_find_a_scale_and_learn(variant):
    scaler = ALSDGC(variant, init_scale=2.0**22, max_scale=2.0**24, init_threshold=10.0, warmup_steps=10)
    losses, scales = autocast_run(scaler)
    assert scales[-1] < 2.0**22
    assert losses[-1] < 0.3 * losses[0]
    assert all(math.isfinite(loss) for loss in losses)


class CountReads(TorchDispatchMode):
    """Count the operator that every ``item()``, ``bool()`` and ``float()`` of a tensor runs."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def reads_per_step(scaler, monkeypatch):
    """Count device reads in five iterations, clipping ones included."""
    joint_reads = []
    read = admission.read_numbers
    monkeypatch.setattr(admission, "read_numbers", lambda values: joint_reads.append(1) or read(values))
    weights = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(4)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    with CountReads() as counter:
        for _ in range(5):
            optimizer.zero_grad()
            scaler.scale(sum((w**2).sum() for w in weights)).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    return counter.reads + len(joint_reads)


@pytest.mark.parametrize("variant", ["V0", "V1", "V2", "V3", "V4"])
def test_the_host_waits_for_the_device_as_often_as_with_grad_scaler(variant, monkeypatch):
    """All of a step's numbers come in one ``tolist`` of ``read_numbers``; nothing else reads a tensor."""
    assert reads_per_step(torch.amp.GradScaler("cpu"), monkeypatch) == 5
    scaler = ALSDGC(variant, init_threshold=0.01, warmup_steps=2)
    assert reads_per_step(scaler, monkeypatch) == 5


def test_the_read_counter_sees_a_read():
    with CountReads() as counter:
        torch.ones(()).item()
        assert torch.ones(2).sum() > 0
    assert counter.reads == 2


def test_fixed_scaling_equals_a_grad_scaler_that_never_moves():
    still = torch.amp.GradScaler("cpu", init_scale=128.0, growth_interval=10**6)
    assert autocast_run(FixedScaler(scale=128.0)) == autocast_run(still)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", ["V2", "V3", "V4"])
def test_on_cuda_torch_itself_counts_no_more_waits_than_with_grad_scaler(variant):
    def waits(scaler):
        weights = [torch.nn.Parameter(torch.ones(3, 2, device="cuda")) for _ in range(4)]
        optimizer = torch.optim.SGD(weights, lr=0.1)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for _ in range(5):
                    optimizer.zero_grad()
                    scaler.scale(sum((w**2).sum() for w in weights)).backward()
                    scaler.step(optimizer)
                    scaler.update()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(warning.message) for warning in caught)

    scaler = ALSDGC(variant, init_threshold=0.01, warmup_steps=2)
    assert waits(scaler) <= waits(torch.amp.GradScaler("cuda"))
