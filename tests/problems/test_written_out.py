"""Derivatives written out: the numbers of autograd, alone, under vmap and in per-example statistics."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from regrad.perexample.engine import gradient_statistics
from regrad.problems.batch import Batch
from regrad.problems.models.attention import LONGEST, causal_attention, rotary_attention, rotate
from regrad.problems.models.decoder import Decoder, DecoderConfig, rotary_tables
from regrad.problems.models.rms_norm import RMSNorm

SHAPES = [(16, 128, 4, 4), (3, 64, 4, 8), (5, 33, 2, 16), (1, 40, 4, 4), (1, 70, 2, 8), (2, 31, 1, 32)]
CONFIG = DecoderConfig(hidden=16, intermediate=24, heads=2, layers=2, vocabulary=40, context=70)


def by_autograd(query, key, value, angles):
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return causal_attention(rotate(query, *angles), rotate(key, *angles), value).transpose(1, 2)


def inputs(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    made = [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(4)]
    tables = rotary_tables(DecoderConfig(shape[2] * shape[3], 8, shape[2], 1, 8, context=shape[1]))
    return made[:3], made[3], tuple(table.to(dtype) for table in tables)


def value_and_gradients(function, tensors, seed):
    leaves = [x.clone().requires_grad_() for x in tensors]
    y = function(*leaves)
    return y, *torch.autograd.grad(y, leaves, seed)


def example_gradients(function, tensors, seed):
    def loss(*parts):
        return (function(*(x[None] for x in parts[:-1])) * parts[-1]).sum()

    return vmap(grad(loss, argnums=tuple(range(len(tensors)))))(*tensors, seed)


@pytest.mark.parametrize("gradients", [value_and_gradients, example_gradients])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_is_that_of_autograd_to_the_bit(shape, gradients):
    tensors, seed, angles = inputs(shape)
    expected = gradients(lambda *x: by_autograd(*x, angles), tensors, seed)
    found = gradients(lambda *x: rotary_attention(*x, angles=angles), tensors, seed)
    assert all(map(torch.equal, expected, found))


@pytest.mark.parametrize("gradients", [value_and_gradients, example_gradients])
@pytest.mark.parametrize("shape", [*SHAPES, (1, LONGEST, 1, 4), (1, LONGEST + 1, 1, 4)], ids=str)
def test_fused_attention_equals_that_of_autograd(shape, gradients):
    if shape[1] > LONGEST and gradients is example_gradients:
        pytest.skip("torch's kernel has no rule for vmap, and warns")
    tensors, seed, angles = inputs(shape, torch.float64)
    expected = gradients(lambda *x: by_autograd(*x, angles), tensors, seed)
    found = gradients(lambda *x: rotary_attention(*x, angles=angles, fused=True), tensors, seed)
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize("width", [8, 64, 96])
def test_rms_norm_is_that_of_torch_to_the_bit(width):
    generator = torch.Generator().manual_seed(width)
    x, seed = (torch.randn(4, 30, width, generator=generator) for _ in range(2))
    ours, torchs = RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
    weight = torch.rand(width, generator=generator)

    # The residual connection is part of the test: autograd adds what reaches x one term after the other.
    def through(norm):
        return lambda x, weight: x + functional_call(norm, {"weight": weight.flatten()}, (x,))

    results = [value_and_gradients(through(norm), [x, weight], seed) for norm in (torchs, ours)]
    assert all(map(torch.equal, *results))
    weights = weight.expand(4, -1)
    assert all(map(torch.equal, *(example_gradients(through(n), [x, weights], seed) for n in (torchs, ours))))


def token_losses(model, batch):
    tokens = cross_entropy(model(batch.inputs).flatten(0, 1), batch.targets.flatten(), reduction="none")
    return tokens.unflatten(0, batch.targets.shape).mean(dim=1)


@pytest.mark.parametrize("method", ["vmap", "graph"])
@pytest.mark.parametrize("group_size", [1, 2])
def test_statistics_of_a_fused_decoder_equal_the_loop_over_one_by_autograd(method, group_size):
    plain, fused = decoders(torch.float64)
    names = ["mean", "mean_square", "mean_sign"]
    ids = torch.randint(40, (4, 71), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids[:, :-1], ids[:, 1:])
    expected = gradient_statistics(plain, token_losses, batch, names, method="loop", group_size=group_size)
    found = gradient_statistics(fused, token_losses, batch, names, method=method, group_size=group_size)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def decoders(dtype):
    return (
        Decoder(replace(CONFIG, fused=fused), generator=torch.Generator().manual_seed(0)).to(dtype)
        for fused in (False, True)
    )


def test_a_fused_decoder_has_the_same_names_and_initial_weights():
    plain, fused = (decoder.state_dict() for decoder in decoders(torch.float32))
    assert list(plain) == list(fused)
    assert all(torch.equal(plain[name], fused[name]) for name in plain)


def test_a_second_derivative_is_refused():
    tensors, seed, angles = inputs((1, 4, 1, 4))
    x = tensors[0].requires_grad_()
    y = rotary_attention(x, *tensors[1:], angles=angles)
    (first,) = torch.autograd.grad(y, x, seed, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(first.sum(), x)
    x = tensors[1].requires_grad_()
    (first,) = torch.autograd.grad(RMSNorm(4, eps=1e-6)(x).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(first.sum(), x)


THREE_STEPS = """
import hashlib, torch
from regrad.problems.models.decoder import Decoder, DecoderConfig
from regrad.problems.models.resnet import ResNet, ResNetConfig

torch.set_num_threads(1)
seeded = lambda: torch.Generator().manual_seed(0)
decoder = Decoder(DecoderConfig(16, 32, 4, 2, 40, context=70, fused=True), generator=seeded())
network = ResNet(ResNetConfig(depth=8, width=4, channels=1, memory_format="channels_last"), generator=seeded())
ids, images = torch.randint(40, (4, 70), generator=seeded()), torch.randn(4, 1, 28, 28, generator=seeded())
digest = hashlib.sha256()
for model, inputs in ((decoder, ids), (network, images)):
    adam = torch.optim.Adam(model.parameters())
    for _ in range(3):
        model(inputs).square().mean().backward()
        adam.step()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
print(digest.hexdigest())
"""


def test_two_processes_take_the_same_steps_to_the_byte():
    command = [sys.executable, "-c", THREE_STEPS]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second
    assert len(first.strip()) == 64
