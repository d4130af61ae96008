"""Acts on: per-example gradients. Rules of users, for layers of their own."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

ModuleRule = Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]]

MODULE_RULES: dict[type[nn.Module], ModuleRule] = {}


def register_rule(kind: type[nn.Module]) -> Callable[[ModuleRule], ModuleRule]:
    """Register the per-example gradients of a layer of one's own.

    The decorated function takes the module, its input x [B, …] and the gradient g of the summed losses with
    respect to its output, and returns {parameter name: per-example gradients [B, *parameter]}. The layer
    must take and return one tensor, each example on the first axis. Subclasses need a rule of their own.

        @register_rule(Scale)
        def scale(module, x, g):
            return {"scale": (g * x).sum(1)}

    Raises:
        ValueError: if `kind` is no class of modules.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"register_rule({kind!r}): a subclass of torch.nn.Module is required")

    def register(rule: ModuleRule) -> ModuleRule:
        MODULE_RULES[kind] = rule
        return rule

    return register
