"""Bases, parameters and gradients that the SGG tests share."""

import pytorch_optimizer
import torch
from torch.optim import SGD, Adafactor, Adam, AdamW, NAdam, RAdam

BASES = {
    "SGD": lambda p: SGD(p, lr=0.01, weight_decay=0.1),
    "SGD with momentum": lambda p: SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda p: Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    "AdamW fused": lambda p: AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "AdamW amsgrad maximize": lambda p: AdamW(p, lr=0.01, amsgrad=True, maximize=True),
    "NAdam": lambda p: NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "RAdam": lambda p: RAdam(p, lr=0.01),
    "Adafactor": lambda p: Adafactor(p, lr=0.01, weight_decay=0.1),
    "Muon": lambda p: torch.optim.Muon([x for x in p if x.dim() == 2], lr=0.01),
    "Lamb": lambda p: pytorch_optimizer.Lamb(p, lr=0.01, weight_decay=0.1),
    "AdaFactor": lambda p: pytorch_optimizer.AdaFactor(p, lr=0.01, relative_step=False),
    "CAME": lambda p: pytorch_optimizer.CAME(p, lr=0.01, weight_decay=0.1),
    "AdamMini": lambda p: pytorch_optimizer.AdamMini(model(p), lr=0.01, model_embedding=8, num_heads=2),
}
FOLDED = ["SGD", "SGD with momentum", "Adam", "AdamW"]


def model(params):
    module = torch.nn.Module()
    for i, p in enumerate(params):
        module.register_parameter(f"p{i}", p)
    return module


def parameters(seed=0, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)
    shapes = [(24, 16), (16, 30), (16,), (5, 4)]
    return [torch.nn.Parameter(torch.randn(s, generator=random, dtype=dtype)) for s in shapes]


def feed(params, step, size=1.0):
    """Gradients whose size differs from entry to entry, the same for every optimizer under test."""
    random = torch.Generator().manual_seed(1000 + step)
    for p in params:
        noise = torch.randn(p.shape, generator=random, dtype=torch.float64)
        where = torch.linspace(0.05, 2, p.numel(), dtype=torch.float64).view(p.shape)
        p.grad = (size * noise * where).to(p.dtype)


def train(optimizer, params, steps, *, start=0, size=1.0):
    for step in range(start, start + steps):
        feed(params, step, size)
        optimizer.step()
    return [p.detach().clone() for p in params]


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a, b)
