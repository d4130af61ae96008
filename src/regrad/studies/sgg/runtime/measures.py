"""What SGG's scales are along a run."""

from typing import Any

from regrad.results import Spec
from regrad.runner.measures import Checkpoint


class ScaleRange:
    """The scales S of an SGG: mean over all entries of all parameters, smallest and largest.

    Recorded are ``scale/mean``, ``scale/low`` and ``scale/high``; 1 before the first recluster. The extremes
    leave out the group scale of the public C4 trainer.

    Args:
        every: Steps between records, >= 1; the last step is always recorded.
    """

    def __init__(self, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"every={every!r} must be >= 1")
        self.every = every

    def wants(self, step: int, spec: Spec) -> bool:
        return step > 0 and (step % self.every == 0 or step == spec.steps)

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return the three numbers; the mean alone where there are no clusters."""
        optimizer: Any = at.optimizer
        scales = [kept["scale"] for kept in optimizer.state.values() if "scale" in kept]
        found = {"scale/mean": float(optimizer.mean_scale())}
        found["scale/low"] = min((float(s.min()) for s in scales), default=1.0)
        found["scale/high"] = max((float(s.max()) for s in scales), default=1.0)
        return found
