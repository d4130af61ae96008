"""Acts on: per-example gradients. Which rule carries out which function, and which functions only look at a weight."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Rule = Callable[[Any], Any]
ModuleRule = Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]]

RULES: dict[Any, Rule] = {}
MODULE_RULES: dict[type[nn.Module], ModuleRule] = {}
# Functions that may give a weight its example axis.
SPREADS: dict[Any, Callable[[Any, torch.Size], Tensor]] = {}
# Functions that hold the examples on another axis; their rule looks for them itself.
OWN_LAYOUT: set[Any] = set()
_FALLBACK: list[Rule] = []

# Functions whose answer shows some entries of their first argument, each at most once (where it shares its memory).
VIEWS = {
    Tensor.__getitem__, Tensor.view, Tensor.reshape, Tensor.t, Tensor.transpose, Tensor.permute, Tensor.unsqueeze,
    Tensor.squeeze, Tensor.flatten, Tensor.unflatten, Tensor.narrow, Tensor.select, Tensor.chunk, Tensor.split,
    Tensor.unbind, Tensor.T.__get__, Tensor.mT.__get__, torch.t, torch.transpose, torch.permute, torch.unsqueeze,  # type: ignore[attr-defined]
    torch.squeeze, torch.flatten, torch.reshape, torch.narrow, torch.select, torch.chunk, torch.split, torch.unbind,
}  # fmt: skip


def rule_for(*functions: Any) -> Callable[[Rule], Rule]:
    """Register the rule that carries out these torch functions when they meet a trainable parameter.

    A rule takes a `Call` and returns what the function would, or NotImplemented to leave it to the fallback.
    """

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(functions, rule))
        return rule

    return register


def fallback(rule: Rule) -> Rule:
    """Register what carries out functions that have no rule."""
    _FALLBACK[:] = [rule]
    return rule


def fallback_rule() -> Rule:
    """The rule for functions that have none."""
    return _FALLBACK[0]


def register_rule(kind: type[nn.Module]) -> Callable[[ModuleRule], ModuleRule]:
    """Register the per-example gradients of a layer of one's own.

    The decorated function takes the module, its input x [B, …] and the gradient g of the summed losses with
    respect to its output, and returns {parameter name: per-example gradients [B, *parameter]}. The layer
    must take and return one tensor, each example on the first axis. Subclasses need a rule of their own.

        @register_rule(Scale)
        def scale(module, x, g):
            return {"scale": (g * x).sum(1)}
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"register_rule({kind!r}): a subclass of torch.nn.Module is required")

    def register(rule: ModuleRule) -> ModuleRule:
        MODULE_RULES[kind] = rule
        return rule

    return register
