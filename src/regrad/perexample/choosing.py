"""Acts on: per-example gradients. Statistics of some parameters only: the others stand still meanwhile."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from regrad.perexample.distributed import is_sharded
from regrad.perexample.refusals import trainable_parameters


def choose_parameters(model: nn.Module, names: Iterable[str] | None) -> dict[str, nn.Parameter]:
    """The trainable parameters asked for, in the model's order.

    Args:
        model: the module that names them.
        names: of parameters, or of modules for all that they hold; None for all.

    Raises:
        ValueError: for a name that is neither, or has nothing to train.
    """
    trainable = trainable_parameters(model)
    if names is None:
        return trainable
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"parameters={names!r}: a list of names of parameters or modules is required")
    if is_sharded(model):
        raise ValueError("parameters: of a sharded model all or none; freeze the others before fully_shard")
    # A tied parameter has a name at each of its places, and one of them in the answer.
    everywhere = [(own, p) for own, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    chosen: set[int] = set()
    for name in names:
        found = {id(p) for own, p in everywhere if own == name or own.startswith(f"{name}.")}
        if not found:
            raise ValueError(f"parameters: {name!r} is no trainable parameter of the model, nor a module with one")
        chosen |= found
    if not chosen:
        raise ValueError("parameters is empty: name at least one, or leave it out for all")
    return {name: p for name, p in trainable.items() if id(p) in chosen}


@contextmanager
def only(chosen: Mapping[str, nn.Parameter], model: nn.Module) -> Iterator[None]:
    """While active, no other parameter of the model requires a gradient: the backward pass ends where it may."""
    own = {id(p) for p in chosen.values()}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    try:
        for parameter in others:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
