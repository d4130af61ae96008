"""Shared bookkeeping for methods that wrap a base optimizer.

Acts on: whatever the subclass changes, before or after the base optimizer's step.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim import LBFGS, Optimizer

from regrad.optim.statistic_inputs import Statistics, statistic_of
from regrad.optim.step_beside import StepBeside

Entries = dict[str, Any]


class OptimizerWrapper(Optimizer):
    """An optimizer around an optimizer: own ``state``, shared ``param_groups``.

    A subclass overrides `before_step` (gradients) or `take_step` (everything). Learning-rate schedulers,
    ``zero_grad``, gradient scalers and new parameter groups act on both optimizers, because the list of
    groups is the base optimizer's own.

    Args:
        base: The optimizer to wrap; wrappers nest. Do not step it directly afterwards: a warning says so, once.

    Raises:
        ValueError: If ``base`` is no optimizer, or one whose step needs a closure (LBFGS).
    """

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Refuse what is no call of a wrapper, before Python says that it knows no ``lr``."""
        if args and not isinstance(args[0], Optimizer):
            got = args[0].__name__ if isinstance(args[0], type) else type(args[0]).__name__
            raise ValueError(f"base must be an optimizer, as in {cls._example()}, got {got}")
        if "lr" in settings:
            raise ValueError(f"lr is the base optimizer's, as in {cls._example()}, got {settings['lr']!r}")
        return super().__new__(cls)

    @classmethod
    def _example(cls) -> str:
        return f"{cls.__name__}(AdamW(model.parameters(), lr=…))"

    _stepping = False

    def __init__(self, base: Optimizer) -> None:
        if not isinstance(base, Optimizer):
            raise ValueError(f"base must be an optimizer, as in {self._example()}, got {type(base).__name__}")
        if isinstance(innermost(base), LBFGS):
            raise ValueError("base must be an optimizer that steps without a closure, got LBFGS")
        self.base = base
        self._options: dict[str, Any] = {}
        super().__init__(base.param_groups, base.defaults)
        self.param_groups = base.param_groups
        base.register_step_pre_hook(StepBeside(self))

    def before_step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        """Change one group's ``grads`` in place (only parameters that have one). Default: nothing."""

    def take_step(self) -> None:
        """Update the parameters that have gradients. Default: the base optimizer's step."""
        self.step_base()

    def step_base(self) -> None:
        """Step the base optimizer, with what `step` was given for it."""
        self.base.step(**self._options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to both optimizers, with the base optimizer's defaults."""
        if self.param_groups is self.base.param_groups:
            self.base.add_param_group(param_group)
        else:  # still inside Optimizer.__init__, which fills its own list
            super().add_param_group(param_group)

    @torch.no_grad()
    @_disable_dynamo  # inside a compiled function a step runs as it is: clustering follows the data
    def step(self, closure: Callable[[], Any] | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Take one step.

        Args:
            closure: Recomputes and returns the loss; called exactly once, with gradients enabled.
            options: Passed on to the base optimizer's step, as MicroAdam's ``statistics`` and ``batch_size``.
                Where ``statistics`` hold a "mean" and a parameter has no gradient, the mean is its gradient.

        Returns:
            What ``closure`` returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not options and hasattr(self.base, "take_over"):
            options = self.base.take_over()  # what was handed over before a plain step
        if "statistics" in options:
            self._refuse_statistics()
        with self._lent_gradients(options) as self._options:
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if params:
                    self.before_step(params, [p.grad for p in params], group)
            self._stepping = True
            try:
                self.take_step()
            finally:
                self._stepping = False
        self._options = {}
        self._mark()
        return loss

    def _mark(self) -> None:
        """Leave an entry where there is none: torch's checkpointing would take a step to make some."""
        for group in self.param_groups:
            if group["params"] and not self.state:
                _ = self.state[group["params"][0]]

    def hand_over(self, **options: Any) -> None:
        """Keep ``statistics`` and ``batch_size`` for the next plain ``step()``, as the base optimizer's method does."""
        self._refuse_statistics()
        self.base.hand_over(**options)  # type: ignore[attr-defined]

    def _refuse_statistics(self) -> None:
        if not hasattr(inner := innermost(self.base), "hand_over"):
            raise ValueError(f"{type(inner).__name__} takes no statistics; allowed: around MicroAdam")

    def take_over(self) -> dict[str, Any]:
        """Return what was handed over, once."""
        return self.base.take_over() if hasattr(self.base, "take_over") else {}

    def train(self) -> None:
        """Switch a base optimizer that has modes (schedule-free ones) to training."""
        if hasattr(self.base, "train"):
            self.base.train()

    def eval(self) -> None:
        """Switch a base optimizer that has modes (schedule-free ones) to evaluation."""
        if hasattr(self.base, "eval"):
            self.base.eval()

    def __repr__(self) -> str:
        """Return the wrapper's settings around the base optimizer's."""
        return f"{type(self).__name__}({self._settings_text()}) around {self.base!r}"

    def _settings_text(self) -> str:
        return ""

    @contextmanager
    def _lent_gradients(self, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Lend parameters without a gradient the "mean" of the statistics, and yield the options without it."""
        statistics: Statistics = options.get("statistics") or {}
        lent = []
        for group in self.param_groups if "mean" in statistics else ():
            for name, p in zip(group.get("param_names", ()), group["params"], strict=False):
                mean = statistic_of("mean", name, p, statistics)
                if p.grad is None and mean is not None:
                    p.grad = mean.clone()  # a wrapper may change gradients in place
                    lent.append(p)
        if lent:
            options = options | {"statistics": {k: v for k, v in statistics.items() if k != "mean"}}
        try:
            yield options
        finally:
            for p in lent:
                p.grad = None

    @property
    def depth(self) -> int:
        """How many wrappers are inside this one."""
        return self.base.depth + 1 if isinstance(self.base, OptimizerWrapper) else 0

    def _key(self, name: str) -> str:
        """Return what the wrapper's entry ``name`` is called in the state that holds the base optimizer's, too."""
        return f"wrapper{self.depth}.{name}"

    def saved_numbers(self) -> dict[str, Any]:
        """Return numbers of the wrapper, besides its state, that belong into a checkpoint. Default: none."""
        return {}

    def load_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Restore what `saved_numbers` returned."""

    def state_dict(self) -> dict[str, Any]:
        """Return the base optimizer's state with the wrapper's entries beside its own, as any optimizer's.

        Entries of the wrapper have names like ``wrapper0.index``; its numbers lie in the first parameter group.
        """
        own, saved = super().state_dict(), self.base.state_dict()
        state: dict[Any, Entries] = {key: dict(entries) for key, entries in saved["state"].items()}
        for key, entries in own["state"].items():
            state.setdefault(key, {}).update({self._key(name): value for name, value in entries.items()})
        for group in own["param_groups"]:  # torch's checkpointing wants all parameters or none
            state |= {key: {} for key in group["params"] if key not in state}
        groups = [dict(group) for group in saved["param_groups"]]
        if groups:
            numbers = {"depth": self.depth, **self.saved_numbers()}
            groups[0] |= {self._key(name): value for name, value in numbers.items()}
        rest = {key: value for key, value in own.items() if key not in ("state", "param_groups")}
        return rest | saved | {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the wrapper's own tensors keep their dtypes.

        Raises:
            ValueError: If ``state_dict`` is not a wrapper's.
        """
        own, base, numbers = self._taken_apart(state_dict)
        super().load_state_dict(own)
        self.base.load_state_dict(base)
        self.param_groups = self.base.param_groups
        self._restore_dtypes(own)
        self.load_numbers(numbers)
        self._mark()

    def _taken_apart(self, state_dict: dict[str, Any]) -> tuple[Entries, Entries, Entries]:
        """Return the wrapper's state, the base optimizer's, and the wrapper's numbers."""
        if {"wrapper", "base"} <= state_dict.keys():  # as saved before 0.2
            own = state_dict["wrapper"]
            return own, state_dict["base"], own.get("progress", {})
        first = self._key("")
        groups = state_dict.get("param_groups", [])
        if not groups or self._key("depth") not in groups[0]:
            raise ValueError(
                f"state_dict must be {type(self).__name__}'s own, with {self._key('depth')!r} in its first group; what "
                "the base optimizer saved by itself goes into optimizer.base.load_state_dict"
            )
        split = [{k: v for k, v in group.items() if not k.startswith(first)} for group in groups]
        numbers = {k.removeprefix(first): v for group in groups[:1] for k, v in group.items() if k.startswith(first)}
        inside = state_dict["state"].items()
        own = {key: {k.removeprefix(first): v for k, v in e.items() if k.startswith(first)} for key, e in inside}
        base = {key: {k: v for k, v in e.items() if not k.startswith(first)} for key, e in inside}
        own, base = ({key: entries for key, entries in part.items() if entries} for part in (own, base))
        rest = {key: value for key, value in state_dict.items() if key not in ("state", "param_groups")}
        return {"state": own, "param_groups": split}, rest | {"state": base, "param_groups": split}, numbers

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
        return super().__getstate__() | {"base": self.base, "_options": {}}


def innermost(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer inside all wrappers."""
    while isinstance(optimizer, OptimizerWrapper):
        optimizer = optimizer.base
    return optimizer
