"""Acts on: per-example gradients. One call of the forward pass, as the surgery sees it and hands it to a rule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import resolve_name

if TYPE_CHECKING:
    from regrad.perexample.surgery import Surgery

Shapes = tuple[torch.Size, ...]


@dataclass
class Seen:
    """What a forward pass saw."""

    size: int  # its number of examples
    calls: list[Shapes]  # of each call with a weight, the shapes of what met it; and of what is made of weights alone


@dataclass
class Call:
    """One call of a function with at least one trainable parameter, as a rule receives it."""

    surgery: "Surgery"  # to register uses with
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    folds: dict[int, int]  # id of an argument that holds examples -> rows of its first axis that each of them has

    @property
    def fold(self) -> int:
        """Rows that an example has in the arguments that hold examples: 1 in [B, …], k in [B·k, …]."""
        return max((1, *self.folds.values()))

    def bind(self, *names: str) -> list[Any]:
        """The arguments by name in the function's order, None where absent."""
        given = dict(zip(names, self.args, strict=False)) | self.kwargs
        return [given.get(name) for name in names]

    def refuse(self, why: str, *, final: bool = False) -> ValueError:
        """An error that names the function and the parameter; the caller raises it."""
        return self.surgery.refusal(self, why, final=final)


def tensors_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for x in (*args, *kwargs.values()):
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, tuple | list):
            yield from (y for y in x if isinstance(y, Tensor))


def map_tensors(call: Call, function: Callable[[Tensor], Tensor]) -> Call:
    """The same call with other tensors, also those in lists; they are known to hold examples as [B, …]."""
    folds: dict[int, int] = {}

    def change(x: Any) -> Any:
        if isinstance(x, tuple | list):
            return [change(y) for y in x]
        if not isinstance(x, Tensor):
            return x
        changed = function(x)
        if changed is not x:
            folds[id(changed)] = 1
        return changed

    kwargs = {key: change(x) for key, x in call.kwargs.items()}
    return Call(call.surgery, call.func, tuple(map(change, call.args)), kwargs, folds)


def leaves_behind(x: Tensor) -> list[Tensor]:
    """The tensors that a backward pass from `x` would give a gradient."""
    waiting: list[Any] = [x.grad_fn]
    seen, found = set(), []
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found += [node.variable] if hasattr(node, "variable") else []
            waiting.extend(following for following, _ in node.next_functions)
    return found


def name_of(func: Callable[..., Any]) -> str:
    return resolve_name(func) or getattr(func, "__name__", repr(func))
