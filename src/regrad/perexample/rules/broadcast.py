"""Acts on: per-example gradients. A bare parameter that meets the examples by broadcasting: positions, scales, tokens.

The weight gets an example axis of stride zero. Autograd's own reduction of a broadcast then stops at that
axis, and what arrives is the per-example gradient.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.calls import Call
    from regrad.perexample.surgery import Surgery

ELEMENTWISE = tuple(
    getattr(owner, name)
    for owner, names in (
        (torch, "add sub mul div true_divide multiply subtract divide maximum minimum where lerp pow addcmul addcdiv"),
        (Tensor, "add sub mul div true_divide multiply subtract divide maximum minimum where lerp pow addcmul addcdiv"),
        (Tensor, "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __pow__ __rpow__"),
        (Tensor, "add_ sub_ mul_ div_ __iadd__ __isub__ __imul__ __itruediv__"),
    )
    for name in names.split()
)


class _PerExample(torch.autograd.Function):
    """[*weight] -> [B, 1, …, *weight]; the gradient that comes back is the per-example one."""

    @staticmethod
    def forward(ctx, anchor, handle, weight, size, extra):
        ctx.handle, ctx.shape = handle, weight.shape
        return weight.reshape((1,) * (extra + 1) + weight.shape).expand(size, *(1,) * extra, *weight.shape)

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        deposit(ctx.handle, Dense.pack(g.reshape(len(g), *ctx.shape)))
        return None, None, None, None, None


def per_example(surgery: "Surgery", weight: Tensor, ndim: int) -> Tensor:
    """The weight with an example axis in front, `ndim` axes in all."""
    # A weight with as many axes as the examples have a leading axis of one, which the example axis takes.
    extra = max(0, ndim - 1 - weight.ndim)
    spread = _PerExample.apply(surgery.anchor, surgery.use(weight), weight.detach(), surgery.size, extra)
    return spread if weight.ndim < ndim else spread.squeeze(1)


def expand_rule(call: "Call", shape: torch.Size) -> Tensor:
    """A weight expanded over the examples."""
    return per_example(call.surgery, call.args[0], len(shape)).expand(shape)


class _Copies(torch.autograd.Function):
    """A function of weights alone whose answer [B·k, …] has the same k rows for each example."""

    @staticmethod
    def forward(ctx, anchor, function, handles, rows, *weights):
        ctx.function, ctx.handles, ctx.rows = function, handles, rows
        ctx.save_for_backward(*weights)
        return function(*weights).clone()

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        rows, function = ctx.rows, ctx.function
        back = vjp(lambda *weights: function(*weights)[:rows], *saved)[1]
        for handle, gradient in zip(ctx.handles, vmap(back)(g.unflatten(0, (-1, rows))), strict=True):
            deposit(handle, Dense.pack(gradient))
        return None, None, None, None, *(None for _ in saved)


def copies_rule(call: "Call", answer: Tensor, rows: int) -> Tensor:
    """Weights repeated for the examples, by whatever function (repeat, tile, stack, a row read again and again)."""
    surgery = call.surgery
    copies = answer.detach().unflatten(0, (-1, rows))
    if not torch.equal(copies, copies[:1].expand_as(copies)):
        raise call.refuse("it gives the examples different rows of a weight, by their number alone")
    leaves, spec = tree_flatten((call.args, call.kwargs))
    places = [i for i, x in enumerate(leaves) if surgery.is_tracked(x)]

    def function(*weights: Tensor) -> Tensor:
        filled = list(leaves)
        for i, weight in zip(places, weights, strict=True):
            filled[i] = weight
        args, kwargs = tree_unflatten(filled, spec)
        return call.func(*args, **kwargs)

    weights = [leaves[i] for i in places]
    handles = [surgery.use(w) for w in weights]
    return _Copies.apply(surgery.anchor, function, handles, rows, *(w.detach() for w in weights))


def elementwise_rule(call: "Call") -> Any:
    """Arithmetic between examples [B, …] and a weight that broadcasts against them."""
    surgery = call.surgery
    ndim = max(x.ndim for x in call.args if isinstance(x, Tensor) and not surgery.is_tracked(x))
    weights = [x for x in (*call.args, *call.kwargs.values()) if surgery.is_tracked(x)]
    if any(w.ndim > ndim or (w.ndim == ndim and w.shape[0] != 1) for w in weights):
        return NotImplemented

    def spread(x: Any) -> Any:
        return per_example(surgery, x, ndim) if surgery.is_tracked(x) else x

    return call.func(*map(spread, call.args), **{key: spread(x) for key, x in call.kwargs.items()})


def prelu_rule(call: "Call") -> Any:
    """functional.prelu, torch.nn.PReLU: one slope, or one for each entry of the second axis."""
    x, weight = call.bind("input", "weight")
    surgery = call.surgery
    if surgery.is_tracked(x) or not surgery.is_tracked(weight) or x.ndim < 2 or call.fold > 1:
        return NotImplemented
    slope = per_example(surgery, weight, 2).reshape(surgery.size, -1, *(1,) * (x.ndim - 2))
    return torch.where(x >= 0, x, slope.to(x.dtype) * x)
