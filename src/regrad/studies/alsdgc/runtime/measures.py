"""What runs through a loss scaler record: scale, threshold, clips and skips, and the loss of every split."""

import math

from regrad.results import Spec
from regrad.runner.measures import Checkpoint
from regrad.runner.train import evaluation, evaluation_steps


class SplitLosses:
    """The problem's numbers on the training and test splits, wherever the validation loss is taken.

    The test curve compares arms at equal training loss; nothing is tuned or stopped by it.
    """

    def wants(self, step: int, spec: Spec) -> bool:
        return step in evaluation_steps(spec.steps, spec.evaluations)

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        return evaluation(at.problem, at.model, "train") | evaluation(at.problem, at.model, "test")


class ScalerReadings:
    """The loss scale, and of ALSDGC the threshold, the norm, and the shares of steps clipped and skipped.

    Args:
        every: Steps between records; the last step is always recorded.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def wants(self, step: int, spec: Spec) -> bool:
        return step > 0 and (step % self.every == 0 or step == spec.steps)

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        if at.scaler is None:
            return {}
        if not hasattr(at.scaler, "readings"):  # any scaler but ALSDGC's
            return {"scaler/scale": at.scaler.get_scale()}
        readings = at.scaler.readings(at.optimizer)
        steps = max(1.0, readings.pop("steps"))
        for count in ("clipped", "skipped"):
            readings[count] /= steps
        # A number that is not finite would end the run; an infinite threshold is no fault, it never clips.
        return {f"scaler/{name}": value for name, value in readings.items() if math.isfinite(value)}
