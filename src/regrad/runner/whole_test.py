"""The numbers of the whole test split, whatever part of a split a problem evaluates on."""

from dataclasses import replace

from regrad.problems.problem import Problem
from regrad.results import Spec
from regrad.runner.measures import Checkpoint


def whole(problem: Problem) -> Problem:
    """The problem with an evaluation subset that is all of its test split."""
    options = problem.options.model_copy(update={"evaluation_examples": problem.size("test")})
    return replace(problem, options=options)


class WholeTest:
    """What the problem says of all of its test split, once, at the end of the run."""

    def wants(self, step: int, spec: Spec) -> bool:
        return step == spec.steps

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        return {f"test_{name}": value for name, value in whole(at.problem).evaluate(at.model, "test").items()}
