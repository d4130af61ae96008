"""The hook by which a wrapped optimizer notices that it is stepped without its wrapper.

Acts on: nothing.
"""

import warnings
from collections.abc import Callable
from typing import Any
from weakref import ref

from torch.optim import Optimizer


class StepBeside:
    """The hook of a base optimizer that warns, once, if it is stepped beside its wrapper."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper: Callable[[], Any] = ref(wrapper)

    def __call__(self, base: Optimizer, *_: Any) -> None:
        """Say it, unless the wrapper steps the base or is gone."""
        wrapper = self._wrapper()
        if wrapper is not None and not wrapper._stepping:
            self._wrapper = lambda: None
            name = type(wrapper).__name__
            say = f"{type(base).__name__}.step() was called beside the {name} around it, which then does nothing: "
            warnings.warn(f"{say}step the {name}", stacklevel=3)
