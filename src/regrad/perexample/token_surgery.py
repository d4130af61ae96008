"""Acts on: per-example gradients. The surgery whose unit is the token: only functions that meet each position alone.

The rules of the examples' surgery add up an example's positions wherever that is cheaper. Here scales and shifts keep
them apart; the products of linear layers and the reads of tables come in factors in any case.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from regrad.perexample.calls import Call
from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import deposit, rule_backward
from regrad.perexample.rules.embedding import embedding_rule
from regrad.perexample.rules.linear import linear
from regrad.perexample.rules.table import OWN_LAYOUT, SPREADS
from regrad.perexample.surgery import Surgery
from regrad.perexample.token_ledger import REMEDY


class TokenSurgery(Surgery):
    """As `Surgery`, but what has no rule for tokens is refused."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not any(id(x) in self.handles for x in tree_leaves((args, kwargs))) or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        call = Call(self, func, args, kwargs, {})
        if func not in SPREADS and func not in OWN_LAYOUT and not self.meets_examples(call):
            return self._derive(call)
        rule = RULES.get(func)
        if call.fold > 1:
            raise call.refuse(f"the examples are folded into [B·{call.fold}, …]; {REMEDY}")
        answer = NotImplemented if rule is None else rule(call)
        if answer is NotImplemented:
            raise call.refuse(f"what one token contributes has no rule here; {REMEDY}")
        return answer


class _Affine(torch.autograd.Function):
    """y = x · weight + bias over the trailing axes; each position's gradients of both leave whole."""

    @staticmethod
    def forward(ctx, anchor, handles, x, weight, bias):
        y = x if weight is None else x * weight
        ctx.handles, ctx.axes = handles, (bias if weight is None else weight).ndim
        ctx.save_for_backward(x if handles[0] >= 0 else None, weight)
        return y if bias is None else y + bias

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        x, weight = saved
        by_scale, by_shift = ctx.handles
        if by_scale >= 0:
            deposit(by_scale, Dense.pack(_positions(g * x, ctx.axes)))
        if by_shift >= 0:
            deposit(by_shift, Dense.pack(_positions(g, ctx.axes)))
        into = g if weight is None else (g * weight).to(g.dtype)
        return None, None, into, None, None


def _positions(x: Tensor, axes: int) -> Tensor:
    """[B, …, *feature axes] as [B, T, *feature axes]."""
    return x.unsqueeze(1) if x.ndim == axes + 1 else x.flatten(1, x.ndim - axes - 1)


def _affine(surgery: Any, x: Tensor, *, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None and bias is None:
        return x
    handles = (surgery.use(weight), surgery.use(bias))
    weight, bias = (None if w is None else w.detach().to(x.dtype) for w in (weight, bias))
    return _Affine.apply(surgery.anchor, handles, x, weight, bias)


def _usable(call: Call, x: Tensor, *weights: Tensor | None) -> bool:
    return not call.surgery.is_tracked(x) and all(call.surgery.is_shared(w) for w in weights)


def linear_tokens(call: Call) -> Any:
    """functional.linear: every vector between the example axis and the features is a position."""
    x, weight, bias = call.bind("input", "weight", "bias")
    if not _usable(call, x, weight, bias) or x.ndim < 2:
        return NotImplemented
    y = linear(call.surgery, x, weight=weight, bias=None)
    return _affine(call.surgery, y, weight=None, bias=bias)


def matmul_tokens(call: Call) -> Any:
    """Examples [B, …, i] times a weight [i, o]."""
    x, weight = call.bind("input", "other")
    if not isinstance(weight, Tensor) or not _usable(call, x, weight) or weight.ndim != 2 or x.ndim < 2:
        return NotImplemented
    with call.surgery:
        transposed = weight.t()
    return linear(call.surgery, x, weight=transposed, bias=None)


def layer_norm_tokens(call: Call) -> Any:
    """functional.layer_norm: the normalised axes are the features."""
    x, shape, weight, bias, eps = call.bind("input", "normalized_shape", "weight", "bias", "eps")
    if not _usable(call, x, weight, bias) or x.ndim <= len(shape):
        return NotImplemented
    unit = functional.layer_norm(x, shape, eps=1e-5 if eps is None else eps)
    return _affine(call.surgery, unit, weight=weight, bias=bias)


def rms_norm_tokens(call: Call) -> Any:
    """functional.rms_norm: likewise."""
    x, shape, weight, eps = call.bind("input", "normalized_shape", "weight", "eps")
    if not _usable(call, x, weight) or x.ndim <= len(shape):
        return NotImplemented
    return _affine(call.surgery, functional.rms_norm(x, shape, eps=eps), weight=weight, bias=None)


RULES: dict[Any, Callable[[Call], Any]] = {
    functional.linear: linear_tokens,
    torch.matmul: matmul_tokens,
    Tensor.matmul: matmul_tokens,
    Tensor.__matmul__: matmul_tokens,
    functional.embedding: embedding_rule,
    functional.layer_norm: layer_norm_tokens,
    functional.rms_norm: rms_norm_tokens,
    torch.rms_norm: rms_norm_tokens,
}
