"""What runs through a loss scaler record: scale, threshold, clips and skips, and the loss of every split."""

import math

from regrad.results import Spec
from regrad.runner.measures import Checkpoint


class SplitLosses:
    """The problem's numbers on the training and test splits, wherever the validation loss is taken.

    The test curve compares arms at equal training loss; nothing is tuned or stopped by it.
    """

    def wants(self, step: int, spec: Spec) -> bool:
        """At every evaluation of the run."""
        return step in {round(spec.steps * k / spec.evaluations) for k in range(spec.evaluations + 1)}

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return ``train_*`` and ``test_*``."""
        found = {split: at.problem.evaluate(at.model, split) for split in ("train", "test")}
        return {f"{split}_{name}": value for split, values in found.items() for name, value in values.items()}


class ScalerReadings:
    """The loss scale, and of ALSDGC the threshold, the norm, and the shares of steps clipped and skipped.

    Args:
        every: Steps between records; the last step is always recorded.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def wants(self, step: int, spec: Spec) -> bool:
        """Every ``every`` steps."""
        return step > 0 and (step % self.every == 0 or step == spec.steps)

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return ``scaler/*``; what is not finite (a threshold that never clips) is left out."""
        if at.scaler is None:
            return {}
        if not hasattr(at.scaler, "readings"):
            return {"scaler/scale": at.scaler.get_scale()}
        found = at.scaler.readings(at.optimizer)
        steps = max(1.0, found.pop("steps"))
        for count in ("clipped", "skipped"):
            found[count] /= steps
        return {f"scaler/{name}": value for name, value in found.items() if math.isfinite(value)}
