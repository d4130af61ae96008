"""What a run records beside its validation loss."""

from typing import Any

from torch import nn

from regrad.results import Spec


class TestLoss:
    """The loss on the test split, once, at the end of the run."""

    def wants(self, step: int, spec: Spec) -> bool:
        """Only after the last step."""
        return step == spec.steps

    def __call__(self, model: nn.Module, problem: Any, spec: Spec) -> dict[str, float]:
        """Return the problem's numbers on the test split."""
        return {f"test_{name}": value for name, value in problem.evaluate(model, "test").items()}
