"""Acts on: per-example gradients. A function without a rule, by vmap over its examples, if it treats each alone."""

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import deposit, rule_backward
from regrad.perexample.slow_paths import NO_RULE

if TYPE_CHECKING:
    from regrad.perexample.calls import Call


class _OneFunction:
    """A function of some examples [B·k, …], some weights, and constants."""

    def __init__(self, call: "Call"):
        self.func, self.size = call.func, call.surgery.size
        self.name, self.watch, self.seconds = call.surgery.describe(call), call.surgery.ledger.watch, 0.0
        self.leaves, self.spec = tree_flatten((call.args, call.kwargs))
        self.weights = [i for i, x in enumerate(self.leaves) if call.surgery.is_tracked(x)]
        self.examples = [i for i, x in enumerate(self.leaves) if id(x) in call.folds]

    def __call__(self, weights: Any, examples: Any) -> Any:
        """Of one example [k, …], or of all of them [B·k, …]."""
        leaves = list(self.leaves)
        for i, x in (*zip(self.weights, weights, strict=True), *zip(self.examples, examples, strict=True)):
            leaves[i] = x
        args, kwargs = tree_unflatten(leaves, self.spec)
        return self.func(*args, **kwargs)

    def apart(self, x: Tensor) -> Tensor:
        """[B·k, …] as [B, k, …]."""
        return x.unflatten(0, (self.size, -1))

    def hidden(self) -> Tensor | None:
        """A tensor that wants a gradient and would be taken for a constant."""
        known = {*self.weights, *self.examples}
        own = (x for i, x in enumerate(self.leaves) if i not in known)
        return next((x for x in own if isinstance(x, Tensor) and x.requires_grad and not x.is_leaf), None)


class _Fallback(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, function, handles, *tensors):
        split = len(function.weights)
        ctx.function, ctx.handles, ctx.split = function, handles, split
        device = tensors[0].device.type
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.save_for_backward(*tensors)
        start = time.perf_counter()
        answer = function(tensors[:split], tensors[split:])
        function.seconds = time.perf_counter() - start
        # A view of an input could not be changed in place afterwards, as models do (`relu_`).
        return answer.clone()

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        # A plain backward pass takes about twice as long as the forward pass.
        with ctx.function.watch.slow(ctx.function.name, NO_RULE, ordinary=2 * ctx.function.seconds):
            return _Fallback._backward(ctx, saved, g)

    @staticmethod
    def _backward(ctx, saved, g):
        weights, examples = saved[: ctx.split], [ctx.function.apart(x) for x in saved[ctx.split :]]
        smooth = [x.is_floating_point() or x.is_complex() for x in examples]

        def of_one(g, *examples):
            def function(weights, *real):
                rest = iter(real)
                return ctx.function(weights, [next(rest) if s else x for s, x in zip(smooth, examples, strict=True)])

            return vjp(function, weights, *(x for s, x in zip(smooth, examples, strict=True) if s))[1](g)

        device, dtype, enabled = ctx.autocast
        with torch.autocast(device, dtype, enabled, cache_enabled=False):
            by_weight, *into = vmap(of_one)(ctx.function.apart(g), *examples)
        for handle, gradient in zip(ctx.handles, by_weight, strict=True):
            deposit(handle, Dense.pack(gradient))
        rest = iter(into)
        gradients = [next(rest).flatten(0, 1) if s else None for s in smooth]
        return None, None, None, *(None,) * ctx.split, *gradients


def fallback_rule(call: "Call") -> Any:
    """Carry out a function that has no rule, after checking on one example that it treats each alone."""
    function = _OneFunction(call)
    weights = [function.leaves[i] for i in function.weights]
    examples = [function.leaves[i] for i in function.examples]
    _check(call, function, weights=weights, examples=examples)
    handles = [call.surgery.use(w) for w in weights]
    return _Fallback.apply(call.surgery.anchor, function, handles, *(w.detach() for w in weights), *examples)


def _check(call: "Call", function: _OneFunction, *, weights: list[Tensor], examples: list[Tensor]) -> None:
    why = "no rule, and it does not treat each example alone"
    if (hidden := function.hidden()) is not None:
        raise call.refuse(f"no rule, and a {list(hidden.shape)} tensor wants a gradient that is no example's")
    with torch.no_grad():
        try:
            whole = function(weights, examples)
            # The last example, since the first would not show what a running sum over the batch does.
            last = function(weights, [function.apart(x)[-1] for x in examples])
        except (RuntimeError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise call.refuse(why) from error
        if not isinstance(whole, Tensor):
            raise call.refuse(f"no rule, and it returns a {type(whole).__name__} where one tensor is required")
        if whole.ndim == 0 or len(whole) == 0 or len(whole) % function.size:
            raise call.refuse(why)
        own = function.apart(whole)[-1]
        if own.shape != last.shape or not torch.allclose(own, last, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise call.refuse(why)
