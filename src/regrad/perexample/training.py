"""Acts on: per-example gradients -> gradient. Hands a statistic to an optimizer as its gradient."""

from collections.abc import Mapping

from torch import Tensor, nn

from regrad.perexample.distributed import unwrapped


def assign_grad(model: nn.Module, statistic: Mapping[str, Tensor]) -> None:
    """Write one statistic into `.grad` of the parameters it names; the others keep what they have.

    With "mean" this is what `losses.mean().backward()` leaves after `zero_grad()`: a `.grad` already there
    is replaced.

    Args:
        model: the model the statistic was computed for.
        statistic: parameter name -> tensor [*parameter], as in the answer of `gradient_statistics`. Cast to
            the parameter's dtype.

    Raises:
        ValueError: if a name or a shape does not fit.
    """
    parameters = dict(unwrapped(model).named_parameters())
    for name, value in statistic.items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise ValueError(f"statistic {name!r} {list(value.shape)}: the model has no such parameter")
    for name, value in statistic.items():
        parameters[name].grad = value.to(parameters[name].dtype)
