"""Shared bookkeeping for methods that wrap a base optimizer.

Acts on: whatever the subclass changes, before or after the base optimizer's step.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer


class OptimizerWrapper(Optimizer):
    """An optimizer around an optimizer: own ``state``, shared ``param_groups``.

    A subclass overrides `before_step` (gradients) or `take_step` (everything). Learning-rate schedulers,
    ``zero_grad``, gradient scalers and new parameter groups act on both optimizers, because the list of
    groups is the base optimizer's own.

    Args:
        base: The optimizer to wrap; wrappers nest. Do not step it directly afterwards.

    Raises:
        ValueError: If ``base`` is no optimizer, or one whose step needs a closure (LBFGS).
    """

    def __init__(self, base: Optimizer) -> None:
        if not isinstance(base, Optimizer):
            raise ValueError(f"base must be a torch.optim.Optimizer, got {type(base).__name__}")
        if isinstance(innermost(base), LBFGS):
            raise ValueError("base must be an optimizer that steps without a closure, got LBFGS")
        self.base = base
        super().__init__(base.param_groups, base.defaults)
        self.param_groups = base.param_groups

    def before_step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        """Change one group's ``grads`` in place (only parameters that have one). Default: nothing."""

    def take_step(self) -> None:
        """Update the parameters that have gradients. Default: the base optimizer's step."""
        self.base.step()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to both optimizers, with the base optimizer's defaults."""
        if self.param_groups is self.base.param_groups:
            self.base.add_param_group(param_group)
        else:  # still inside Optimizer.__init__, which fills its own list
            super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step.

        Args:
            closure: Recomputes and returns the loss; called exactly once, with gradients enabled.

        Returns:
            What ``closure`` returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.before_step(params, [p.grad for p in params], group)
        self.take_step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the wrapper's and the base optimizer's states, side by side."""
        return {"wrapper": super().state_dict(), "base": self.base.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the wrapper's own tensors keep their dtypes.

        Raises:
            ValueError: If ``state_dict`` is not a wrapper's.
        """
        if not {"wrapper", "base"} <= state_dict.keys():
            raise ValueError(f"state_dict must have the keys 'wrapper' and 'base', got {sorted(state_dict)}")
        super().load_state_dict(state_dict["wrapper"])
        self.base.load_state_dict(state_dict["base"])
        self.param_groups = self.base.param_groups
        self._restore_dtypes(state_dict["wrapper"])

    def state_device(self, param: Tensor) -> torch.device:
        """Return where the wrapper keeps the state of ``param``."""
        return param.device

    def _restore_dtypes(self, saved: dict[str, Any]) -> None:
        """Undo torch's cast of all state to the parameter's dtype (an index would become a float)."""
        numbers = chain.from_iterable(group["params"] for group in saved["param_groups"])
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        for number, param in zip(numbers, params, strict=True):
            for key, value in saved["state"].get(number, {}).items():
                if isinstance(value, Tensor):
                    self.state[param][key] = value.detach().clone().to(self.state_device(param))

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled; hooks are left out, as in torch."""
        return super().__getstate__() | {"base": self.base}


def innermost(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer inside all wrappers."""
    while isinstance(optimizer, OptimizerWrapper):
        optimizer = optimizer.base
    return optimizer
