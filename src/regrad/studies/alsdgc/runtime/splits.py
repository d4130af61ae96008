"""Training and test loss along a run, on the evaluation subsets, to compare arms at equal training loss.

Nothing is tuned or stopped by them. The test curve is called ``sampled_test_loss``, since ``test_loss`` is the whole
test split's at the end of the run.
"""

from regrad.problems.problem import Problem
from regrad.results import Spec
from regrad.runner.measures import Checkpoint
from regrad.runner.train import evaluation_steps


class SplitCurves:
    """The losses of the training and test splits' evaluation subsets.

    Args:
        points: How many times they are taken, the end included.
    """

    def __init__(self, points: int = 10) -> None:
        self.points = points

    def wants(self, step: int, spec: Spec) -> bool:
        return step in evaluation_steps(spec.steps, self.points)

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        # Every problem's own loss, without what some add on the test split, such as translations.
        train, test = (Problem.evaluate(at.problem, at.model, split)["loss"] for split in ("train", "test"))
        return {"train_loss": train, "sampled_test_loss": test}
