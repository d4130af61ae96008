"""A batch is any nest of lists, tuples and mappings whose tensors share their first axis: the examples."""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.utils._pytree import tree_flatten, tree_unflatten

Losses = Callable[[nn.Module, Any], Tensor]


def batch_size(batch: Any) -> int:
    """Number of examples: the length of the first axis, which every tensor of the batch must share.

    Raises:
        ValueError: if there is no tensor, no example, or the tensors disagree; for an array that is no tensor, and
            a list that is neither as long as the batch nor made of tensors.
    """
    leaves = list(_leaves(batch))
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"batch: first axes {sorted(sizes)}; every tensor needs the same B >= 1")
    size = sizes.pop()
    for leaf in leaves:
        if isinstance(leaf, list) and len(leaf) != size:
            raise ValueError(f"batch: a list of {len(leaf)} beside {size} examples cannot be cut; make it a tuple")
        if not isinstance(leaf, Tensor) and hasattr(leaf, "__array__"):
            raise ValueError(f"batch: {type(leaf).__name__} is no tensor and cannot be cut; use torch.as_tensor")
    return size


def map_examples(batch: Any, of_tensor: Callable[[Tensor], Any], of_list: Callable[[list[Any]], Any]) -> Any:
    """The same nest with what holds examples replaced: its tensors, and its lists of one entry an example."""
    if isinstance(batch, Tensor):
        return of_tensor(batch)
    if _is_list_of_examples(batch):
        return of_list(batch)
    if isinstance(batch, Mapping):
        return _mapping_like(batch, {key: map_examples(x, of_tensor, of_list) for key, x in batch.items()})
    if type(batch) in (tuple, list):  # what most batches are, and torch's general way is slow
        return type(batch)(map_examples(x, of_tensor, of_list) for x in batch)
    leaves, spec = tree_flatten(batch, is_leaf=lambda x: x is not batch)
    if len(leaves) == 1 and leaves[0] is batch:
        return batch
    return tree_unflatten([map_examples(x, of_tensor, of_list) for x in leaves], spec)


def take(batch: Any, examples: slice) -> Any:
    """The same nest with only those examples, as views."""
    return map_examples(batch, lambda x: x[examples], lambda x: x[examples])


def pick(batch: Any, indices: list[int]) -> Any:
    """The same nest with those examples, in that order, as copies."""
    of_tensor = lambda x: x[torch.tensor(indices, device=x.device)]  # noqa: E731
    return map_examples(batch, of_tensor, lambda x: [x[i] for i in indices])


def shapes(batch: Any) -> tuple[tuple[int, ...], ...]:
    """The shape of every tensor of the nest."""
    return tuple(tuple(leaf.shape) for leaf in _leaves(batch) if isinstance(leaf, Tensor))


def chunks(size: int, chunk: int) -> Iterator[slice]:
    """Consecutive slices of at most `chunk` that cover `size`."""
    return (slice(start, min(start + chunk, size)) for start in range(0, size, chunk))


def by_group(x: Tensor, size: int) -> Tensor:
    """[B, *rest] as [B / size, size, *rest]."""
    return x.unsqueeze(1) if size == 1 else x.unflatten(0, (len(x) // size, size))


def check_losses(losses: Tensor, size: int, of: int | None = None) -> Tensor:
    """The losses, if they are one number for each example.

    Args:
        losses: what the caller's function returned.
        size: for so many examples.
        of: the caller's own number of examples, for the message: a method may go through them one at a time.

    Raises:
        ValueError: if their shape is not [size].
    """
    if isinstance(losses, Tensor) and losses.shape == torch.Size([size]):
        return losses
    required, remedy = f"one unreduced loss per example, [{of or size}], is required", ""
    if not isinstance(losses, Tensor):
        shape = type(losses).__name__
    else:
        own = [of or size, *losses.shape[1:]] if losses.shape[:1] == (size,) else list(losses.shape)
        shape, remedy = own or "one number", ": use reduction='none', then a mean per example"
    raise ValueError(f"losses returned {shape}; {required}{remedy}")


def check_call(losses: Any, model: nn.Module, batch: Any) -> None:
    """Refuse what cannot be called as `losses(model, batch)`, and torch's own losses, which take outputs and targets.

    Raises:
        ValueError: naming it.
    """
    name = getattr(losses, "__name__", type(losses).__name__)
    wanted = "losses is called as losses(model, batch), and returns one loss per example"
    if not callable(losses):
        raise ValueError(f"{wanted}; got a {name}")
    if isinstance(losses, _Loss) or getattr(losses, "__module__", "") == "torch.nn.functional":
        raise ValueError(f"{wanted}; {name} takes outputs and targets: call it inside a function of yours")
    try:
        inspect.signature(losses).bind(model, batch)
    except TypeError as error:
        raise ValueError(f"{wanted}; {name}: {error}") from error
    except ValueError:  # a builtin without a signature
        return


def _leaves(batch: Any) -> Iterable[Any]:
    if isinstance(batch, Tensor) or _is_list_of_examples(batch):
        return [batch]
    if type(batch) in (tuple, list):
        children: Iterable[Any] = batch
    elif isinstance(batch, Mapping):
        children = batch.values()
    else:
        children = tree_flatten(batch, lambda x: x is not batch)[0]
    return [leaf for x in children for leaf in ([x] if x is batch else _leaves(x))]


def _is_list_of_examples(x: Any) -> bool:
    """Whether a list holds no tensor, and so one entry for each example; a tuple belongs to the whole batch."""
    if type(x) is not list or not x or isinstance(x[0], Tensor):
        return False
    return not any(isinstance(leaf, Tensor) for leaf in tree_flatten(x)[0])


def _mapping_like(batch: Any, values: dict[str, Any]) -> Any:
    if type(batch) is dict:
        return values
    # A tokenizer's and a model's own mappings have attributes beside their entries.
    other = copy.copy(batch)
    if hasattr(other, "data") and isinstance(other.data, dict):
        other.data = values
        return other
    for key, value in values.items():
        other[key] = value
    return other
