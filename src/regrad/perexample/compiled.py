"""Acts on: per-example gradients. What torch.compile has compiled runs as it was written meanwhile.

The surgery, and torch.func too, watch the functions that a forward pass calls; of a compiled graph they see nothing, or
a trace that is compiled anew at every step.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

Entrance = TypeVar("Entrance", bound=Callable[..., Any])

_GUARD = threading.Lock()
# How many calls are under way, in all threads, and what ends the stance that they share: torch has one for all of them.
_UNDER_WAY: list[Any] = []


def run_as_written(entrance: Entrance) -> Entrance:
    """Let a function see models and losses without torch.compile, also where a compiled step calls it."""

    @wraps(entrance)
    def run(*args: Any, **kwargs: Any) -> Any:
        with _as_written():
            return entrance(*args, **kwargs)

    return cast(Entrance, torch.compiler.disable(run))


@contextmanager
def _as_written() -> Iterator[None]:
    with _GUARD:
        # Only the first may take down what was before, lest the last of several threads put back another's stance.
        _UNDER_WAY.append(_UNDER_WAY[0] if _UNDER_WAY else torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _GUARD:
            stance = _UNDER_WAY.pop()
            if not _UNDER_WAY:
                stance.__exit__(None, None, None)
