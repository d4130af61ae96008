"""A batch is any nest of lists, tuples and dicts whose tensors share their first axis: the examples."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

Losses = Callable[[nn.Module, Any], Tensor]


def batch_size(batch: Any) -> int:
    """Number of examples: the length of the first axis, which every tensor of the batch must share.

    Raises:
        ValueError: if there is no tensor, no example, or the tensors disagree.
    """
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"batch: first axes {sorted(sizes)}; every tensor needs the same B >= 1")
    return sizes.pop()


def take(batch: Any, examples: slice) -> Any:
    """The same nest with only those examples, as views."""
    return tree_map(lambda leaf: leaf[examples] if isinstance(leaf, Tensor) else leaf, batch)


def chunks(size: int, chunk: int) -> Iterator[slice]:
    """Consecutive slices of at most `chunk` that cover `size`."""
    return (slice(start, min(start + chunk, size)) for start in range(0, size, chunk))


def by_group(x: Tensor, size: int) -> Tensor:
    """[B, *rest] as [B / size, size, *rest]."""
    return x.unflatten(0, (len(x) // size, size))


def check_losses(losses: Tensor, size: int) -> Tensor:
    """The losses, if they are one number for each example.

    Raises:
        ValueError: if their shape is not [size].
    """
    if not isinstance(losses, Tensor) or losses.shape != torch.Size([size]):
        shape = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"losses returned {shape}; one unreduced loss per example, [{size}], is required")
    return losses
