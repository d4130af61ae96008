"""What a run records beside its validation loss."""

from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from regrad.problems.problem import Problem
from regrad.results import Spec


class Checkpoint(NamedTuple):
    """What a measure may look at between two steps; it changes nothing."""

    model: nn.Module
    problem: Problem
    spec: Spec
    optimizer: Optimizer | None = None
    scaler: Any = None


class TestLoss:
    """The loss on the test split, once, at the end of the run."""

    def wants(self, step: int, spec: Spec) -> bool:
        return step == spec.steps

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        return {f"test_{name}": value for name, value in at.problem.evaluate(at.model, "test").items()}


class StateMean:
    """The mean over parameters of a number that the optimizer keeps in each parameter's state.

    Args:
        key: Key of ``optimizer.state[p]``, such as MicroAdam's ``clipped_share``; recorded under that name.
        every: Steps between records; the last step is always recorded.
    """

    def __init__(self, key: str, every: int = 1) -> None:
        self.key, self.every = key, every

    def wants(self, step: int, spec: Spec) -> bool:
        """Every ``every`` steps, from the first step that has a state."""
        return step > 0 and (step % self.every == 0 or step == spec.steps)

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return the mean, weighted by the parameters' entries; nothing where no parameter has the key."""
        state = at.optimizer.state if at.optimizer else {}
        found = [(p.numel(), float(kept[self.key])) for p, kept in state.items() if self.key in kept]
        entries = sum(count for count, _ in found)
        return {self.key: sum(count * value for count, value in found) / entries} if entries else {}
