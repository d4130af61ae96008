"""Spiking networks: the neuron against plain arithmetic, its gradient against a hand-written recursion."""

import math
import random

import pytest
import torch

from regrad.problems.models.resnet import ResNet, ResNetConfig
from regrad.problems.models.spiking import (
    LeakyIntegrateAndFire,
    Spike,
    SpikingResNet,
    counted_spikes,
    spikes_per_image,
)

TINY = ResNetConfig(depth=8, width=4, channels=1)


def tiny(reset="soft", seed=0, **options):
    return SpikingResNet(TINY, reset=reset, generator=torch.Generator().manual_seed(seed), **options)


def images(count=3, seed=1):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def simulate(currents, reset, decay, threshold):
    """One neuron in plain Python: its spikes, and d(sum_t weight_t s_t)/d(current) by the chain rule."""
    potentials, spikes, left = [], [], 0.0
    for current in currents:
        potential = decay * left + current
        spike = 1.0 if potential >= threshold else 0.0
        left = potential - threshold * spike if reset == "soft" else potential * (1 - spike)
        potentials.append(potential)
        spikes.append(spike)
    return potentials, spikes


def simulated_gradient(currents, weights, reset, decay, threshold):
    potentials, spikes = simulate(currents, reset, decay, threshold)
    gradients, later = [], 0.0  # later = dL/d(left after this step)
    for u, s, weight in reversed(list(zip(potentials, spikes, weights, strict=True))):
        slope = 1 / (1 + (math.pi * (u - threshold)) ** 2)
        here = weight * slope + later * (1.0 if reset == "soft" else 1 - s)
        gradients.append(here)
        later = decay * here
    return spikes, gradients[::-1]


def test_a_neuron_by_hand_keeps_the_excess_after_a_soft_reset_and_loses_it_after_a_hard_one():
    currents = torch.tensor([1.5, 0.75, 0.5, 0.25])[:, None]
    # soft: u 1.5 -> spike, left 0.5; u 0.25+0.75 = 1 -> spike, left 0; u 0.5; u 0.25+0.25 = 0.5
    assert LeakyIntegrateAndFire("soft")(currents).flatten().tolist() == [1, 1, 0, 0]
    # hard: u 1.5 -> spike, left 0; u 0.75; u 0.375+0.5 = 0.875; u 0.4375+0.25 = 0.6875
    assert LeakyIntegrateAndFire("hard")(currents).flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("seed", range(5))
def test_spikes_and_gradients_equal_those_of_one_neuron_in_plain_python(reset, seed):
    draw = random.Random(seed)
    decay, threshold = draw.uniform(0.2, 1), draw.uniform(0.5, 1.5)
    currents = [[draw.gauss(0.6, 1) for _ in range(6)] for _ in range(20)]
    weights = [[draw.gauss(0, 1) for _ in range(6)] for _ in range(20)]
    given = torch.tensor(currents, dtype=torch.float64).T.contiguous().requires_grad_()
    spikes = LeakyIntegrateAndFire(reset, decay=decay, threshold=threshold)(given)
    (spikes * torch.tensor(weights, dtype=torch.float64).T).sum().backward()
    expected = [simulated_gradient(c, w, reset, decay, threshold) for c, w in zip(currents, weights, strict=True)]
    assert spikes.T.tolist() == [s for s, _ in expected]
    assert sum(map(sum, spikes.tolist())) > 20  # the comparison is not of silent neurons
    torch.testing.assert_close(given.grad.T, torch.tensor([g for _, g in expected], dtype=torch.float64))


def test_the_surrogate_is_the_derivative_of_an_arctangent_step_from_zero_to_one():
    x = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    Spike.apply(x).sum().backward()
    smooth = x.detach().clone().requires_grad_()
    (0.5 + torch.atan(math.pi * smooth) / math.pi).sum().backward()
    torch.testing.assert_close(x.grad, smooth.grad)
    assert Spike.apply(torch.tensor([-1e-6, 0.0, 1e-6])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_the_neuron_agrees_with_snntorch_where_that_is_installed(reset):
    snntorch = pytest.importorskip("snntorch")
    kind = {"soft": "subtract", "hard": "zero"}[reset]
    peer = snntorch.Leaky(beta=0.5, threshold=1.0, reset_mechanism=kind, reset_delay=False)
    # up to 1, so that u < 2: there its soft reset subtracts a second time at the next step
    currents = 1.5 * torch.rand(50, 40, generator=torch.Generator().manual_seed(0)) - 0.5
    membrane, spikes = torch.zeros(40), []
    for current in currents:
        spike, membrane = peer(current, membrane)
        spikes.append(spike)
    assert 100 < torch.stack(spikes).sum() < 1900
    assert torch.equal(torch.stack(spikes), LeakyIntegrateAndFire(reset)(currents))


@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (32, 464_154)])
def test_spiking_resnets_have_the_parameters_of_the_resnets_they_stand_for(depth, count):
    config = ResNetConfig(depth=depth)
    spiking, plain = SpikingResNet(config), ResNet(config)
    assert sum(p.numel() for p in spiking.parameters()) == count
    assert sum(p.numel() for p in plain.parameters()) == count
    assert sum(isinstance(m, LeakyIntegrateAndFire) for m in spiking.modules()) == depth - 1


def logits_step_by_step(model, x, reset):
    """The network in eval mode with time as the outer loop and one membrane per layer, threshold 1, decay 1/2."""
    left = {}

    def layer(part, spikes, added=0.0):
        current = part.norm(part.convolution(spikes)) + added
        potential = 0.5 * left.get(part, 0.0) + current
        fired = (potential >= 1).to(x.dtype)
        left[part] = potential - fired if reset == "soft" else potential * (1 - fired)
        return fired

    rates = 0.0
    for _ in range(model.steps):
        spikes = layer(model.stem, x)
        for block in model.blocks:
            inner = layer(block.first, spikes)
            stride = spikes.shape[-1] // inner.shape[-1]
            carried = torch.zeros_like(inner)
            carried[:, : spikes.shape[1]] = spikes[:, :, ::stride, ::stride]
            spikes = layer(block.second, inner, carried)
        rates = rates + spikes.mean(dim=(2, 3)) / model.steps
    return rates @ model.head.weight.T + model.head.bias


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_the_network_equals_its_simulation_step_by_step_in_float64(reset):
    model, x = tiny(reset).double().eval(), images().double()
    with torch.no_grad():
        torch.testing.assert_close(model(x), logits_step_by_step(model, x, reset), rtol=1e-9, atol=1e-12)
    assert spikes_per_image(model, x).min() > 50


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_every_parameter_gets_a_gradient_and_a_few_steps_fit_a_small_batch(reset):
    model = tiny(reset)
    x, labels = images(16), torch.arange(16) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert losses[-1] < 0.6 * losses[0]


def test_spikes_per_image_is_the_sum_over_layers_neurons_and_steps_of_that_image_alone():
    model, x = tiny(), images()
    together = spikes_per_image(model, x)
    assert together.tolist() == [spikes_per_image(model, one[None]).item() for one in x]
    # 1 stem and 6 block layers; 4 channels of 8×8, then 8 of 4×4, then 16 of 2×2; 4 time steps
    neurons = 3 * 4 * 64 + 2 * 8 * 16 + 2 * 16 * 4
    assert bool((together > 0).all())
    assert bool((together < 4 * neurons).all())
    assert torch.equal(together, together.round())


def test_a_bright_stem_fires_at_every_step_and_a_dark_one_never():
    model = tiny().eval()
    for bias, spikes in ((1.0, 4 * 4 * 64), (0.0, 0)):
        torch.nn.init.zeros_(model.stem.convolution.weight)
        torch.nn.init.constant_(model.stem.norm.bias, bias)  # the stem's current, at all 4 channels and 64 pixels
        with counted_spikes(model) as counts, torch.no_grad():
            model(images(2))
        assert counts[0].tolist() == [spikes, spikes]


def test_counting_leaves_mode_hooks_and_running_statistics_as_they_were():
    model = tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    spikes_per_image(model, images())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    with pytest.raises(RuntimeError):
        spikes_per_image(model, torch.zeros(1, 5, 8, 8))
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


def test_resets_differ_and_a_generator_decides_the_weights_without_touching_the_global_state():
    state = torch.random.get_rng_state()
    soft, hard = tiny("soft"), tiny("hard")
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(soft.parameters(), hard.parameters(), strict=True))
    x = images(8)
    assert not torch.equal(spikes_per_image(soft, x), spikes_per_image(hard, x))
    assert not torch.equal(tiny(seed=2).head.weight, soft.head.weight)


def test_more_time_steps_of_one_image_give_more_spikes():
    counts = [spikes_per_image(tiny(steps=steps), images()).mean().item() for steps in (1, 4, 8)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyIntegrateAndFire("none"), "reset='none' must be"),
        (lambda: LeakyIntegrateAndFire(decay=0.0), "decay=0.0 must be in"),
        (lambda: LeakyIntegrateAndFire(decay=math.nan), "decay=nan must be in"),
        (lambda: LeakyIntegrateAndFire(threshold=-1.0), "threshold=-1.0 must be"),
        (lambda: tiny("medium"), "reset='medium' must be"),
        (lambda: tiny(steps=0), "steps=0 must be"),
        (lambda: SpikingResNet(ResNetConfig(norm="group")), "norm='group' must be 'batch'"),
    ],
)
def test_a_bad_setting_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
