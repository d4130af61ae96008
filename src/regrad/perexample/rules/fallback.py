"""Acts on: per-example gradients. A function without a rule, by vmap over its examples, if it treats each alone."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import anchor_gradient, deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.surgery import Call


class _OneFunction:
    """A function of some examples [B, …], some weights, and constants."""

    def __init__(self, call: "Call"):
        self.func, self.surgery = call.func, call.surgery
        self.leaves, self.spec = tree_flatten((call.args, call.kwargs))
        self.weights = [i for i, x in enumerate(self.leaves) if self.surgery.is_tracked(x)]
        self.examples = [i for i, x in enumerate(self.leaves) if self._is_examples(x)]

    def _is_examples(self, x: Any) -> bool:
        return isinstance(x, Tensor) and not self.surgery.is_tracked(x) and x.shape[:1] == (self.surgery.size,)

    def __call__(self, weights: Any, examples: Any) -> Any:
        leaves = list(self.leaves)
        for i, x in (*zip(self.weights, weights, strict=True), *zip(self.examples, examples, strict=True)):
            leaves[i] = x
        args, kwargs = tree_unflatten(leaves, self.spec)
        return self.func(*args, **kwargs)

    def of_one(self, weights: Any, examples: Any) -> Any:
        """The same for one example [*rest], given and returned without the example axis."""
        return self(weights, [x.unsqueeze(0) for x in examples]).squeeze(0)


class _Fallback(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, function, handles, *tensors):
        split = len(function.weights)
        ctx.function, ctx.handles, ctx.split = function, handles, split
        ctx.save_for_backward(*tensors)
        # A view of an input could not be changed in place afterwards, as models do (`relu_`).
        return function(tensors[:split], tensors[split:]).clone()

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        weights, examples = saved[: ctx.split], saved[ctx.split :]

        def of_one(g, *examples):
            floating = [x.is_floating_point() for x in examples]
            real = [x for x in examples if x.is_floating_point()]

            def function(weights, *real):
                rest = iter(real)
                return ctx.function.of_one(
                    weights, [next(rest) if f else x for f, x in zip(floating, examples, strict=True)]
                )

            return vjp(function, weights, *real)[1](g)

        by_weight, *into = vmap(of_one)(g, *examples)
        zeros = [deposit(h, Dense.pack(v)) for h, v in zip(ctx.handles, by_weight, strict=True)]
        rest = iter(into)
        gradients = [next(rest) if x.is_floating_point() else None for x in examples]
        return anchor_gradient(*zeros), None, None, *(None,) * ctx.split, *gradients


def fallback_rule(call: "Call") -> Any:
    """Carry out a function that has no rule, after checking on one example that it treats each alone."""
    function = _OneFunction(call)
    weights = [function.leaves[i] for i in function.weights]
    examples = [function.leaves[i] for i in function.examples]
    _check(call, function, weights=weights, examples=examples)
    handles = [call.surgery.use(w) for w in weights]
    return _Fallback.apply(call.surgery.anchor, function, handles, *(w.detach() for w in weights), *examples)


def _check(call: "Call", function: _OneFunction, *, weights: list[Tensor], examples: list[Tensor]) -> None:
    remedy = "no rule, and it does not treat each example alone; register a rule or use method='vmap' or 'loop'"
    with torch.no_grad():
        try:
            whole = function(weights, examples)
            # The last example, since the first would not show what a running sum over the batch does.
            last = function.of_one(weights, [x[-1] for x in examples])
        except (RuntimeError, TypeError, AttributeError, IndexError) as error:
            raise call.refuse(remedy) from error
        if not isinstance(whole, Tensor) or whole.shape[:1] != (call.surgery.size,):
            raise call.refuse(remedy)
        if whole[-1].shape != last.shape or not torch.allclose(whole[-1], last, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise call.refuse(remedy)
