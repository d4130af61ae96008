"""The definition of a token's contribution, slowly: every position gets a copy of each weight it meets."""

import contextlib
from unittest import mock

import torch
from torch.nn import functional

KINDS = {"mean": lambda g: g, "mean_square": torch.square, "mean_sign": torch.sign, "mean_abs": torch.abs}


class Copies:
    """Copies [B, *axes, *weight] of each trainable weight; both uses of a tied one act through the same copies."""

    def __init__(self, model):
        self.names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
        self.of = {}

    def __call__(self, weight, axes):
        if weight is None:
            return None
        name = self.names.get(id(weight))
        if name is None:
            return weight.expand(*axes, *weight.shape)
        if name not in self.of:
            copy = weight.detach().expand(*axes, *weight.shape).clone().requires_grad_()
            self.of[name] = (copy, len(axes))
        assert self.of[name][0].shape[: len(axes)] == tuple(axes)
        return self.of[name][0]

    @contextlib.contextmanager
    def installed(self):
        def linear(x, weight, bias=None):
            y = torch.einsum("...oi,...i->...o", self(weight, x.shape[:-1]), x)
            return y if bias is None else y + self(bias, x.shape[:-1])

        def embedding(tokens, weight, padding_idx=None, *_):
            hot = functional.one_hot(tokens, len(weight)).to(weight)
            if padding_idx is not None:
                hot = hot * (tokens != padding_idx).unsqueeze(-1)
            return torch.einsum("...v,...vd->...d", hot, self(weight, tokens.shape))

        def affine(unit, shape, weight, bias):
            axes = unit.shape[: unit.ndim - len(shape)]
            y = unit if weight is None else unit * self(weight, axes)
            return y if bias is None else y + self(bias, axes)

        def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
            return affine(native_layer_norm(x, shape, eps=eps), shape, weight, bias)

        def rms_norm(x, shape, weight=None, eps=None):
            return affine(native_rms_norm(x, shape, eps=eps), shape, weight, None)

        native_layer_norm, native_rms_norm = functional.layer_norm, functional.rms_norm
        replaced = {"linear": linear, "embedding": embedding, "layer_norm": layer_norm, "rms_norm": rms_norm}
        with mock.patch.multiple(functional, **replaced):
            yield


def by_copies(model, losses, batch, statistics, mask=None):
    """What `token_statistics` promises, from gradients [B, T, *weight] that all exist."""
    copies = Copies(model)
    with copies.installed():
        total = losses(model, batch).sum()
    leaves = [copy for copy, _ in copies.of.values()]
    found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    tokens, counts = {}, {}
    for (name, (_, axes)), gradient in zip(copies.of.items(), found, strict=True):
        flat = gradient.flatten(1, axes - 1) if axes > 1 else gradient.unsqueeze(1)
        real = torch.ones(flat.shape[:2], dtype=torch.bool)
        if mask is not None and mask.shape[1] == flat.shape[1]:
            real = mask
        tokens[name] = flat * real.view(*real.shape, *[1] * (flat.ndim - 2)) * (real.sum() / len(real))
        counts[name] = max(1, int(real.sum()))
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    answer = {}
    for key in statistics:
        if key == "norm":
            answer[key] = sum(g.flatten(2).square().sum(2) for g in tokens.values()).sqrt()
        else:
            answer[key] = {
                name: KINDS[key](tokens[name]).sum((0, 1)) / counts[name] if name in tokens else torch.zeros_like(p)
                for name, p in trainable.items()
            }
    return answer
