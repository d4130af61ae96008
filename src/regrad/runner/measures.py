"""What a run records beside its validation loss."""

import math
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from regrad.perexample.engine import gradient_statistics
from regrad.results import Spec


class Checkpoint(NamedTuple):
    """What a measure may look at between two steps; it changes nothing.

    Attributes:
        model: The model as it is.
        problem: Where batches and splits come from.
        spec: The run.
        optimizer: With its state.
        scaler: The loss scaler, or None.
    """

    model: nn.Module
    problem: Any
    spec: Spec
    optimizer: Optimizer | None = None
    scaler: Any = None


class TestLoss:
    """The loss on the test split, once, at the end of the run."""

    def wants(self, step: int, spec: Spec) -> bool:
        """Only after the last step."""
        return step == spec.steps

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return the problem's numbers on the test split."""
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


class MomentSplit:
    """How E[gbar²] = μ² + σ²/B splits, per parameter tensor, from N examples at a few checkpoints.

    Recorded are sums over a tensor's entries that say what the split is at *any* batch size:
    ``split/<parameter>/mean_square``, of the unbiased estimate gbar² - v/N of μ², which may be negative,
    and ``split/<parameter>/variance``, of v, the estimate of σ². Beside them, over all entries that any
    example moves, ``split/all/led``: the share in which μ² exceeds σ²/B at the run's own B.

    Args:
        examples: N >= 2, training examples that the run has not seen; ``led`` needs N >= 8 B to be sharp.
        method: Of ``gradient_statistics``.
        chunk_size: Examples that go through the model at once.
        shares: When, as shares of the run.
    """

    def __init__(
        self,
        examples: int,
        method: str = "vmap",
        chunk_size: int = 16,
        shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
    ) -> None:
        self.examples, self.method, self.chunk_size = examples, method, chunk_size
        self.shares = tuple(shares)

    def wants(self, step: int, spec: Spec) -> bool:
        """Whether this is one of the checkpoints."""
        return step in {round(share * spec.steps) for share in self.shares}

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return the sums of one checkpoint."""
        spec = at.spec
        # The first block of N examples that lies wholly beyond the end of the run.
        block = math.ceil(spec.steps * spec.batch_size / self.examples)
        found = gradient_statistics(
            at.model,
            at.problem.losses,
            at.problem.batch(block, self.examples),
            ["mean", "variance"],
            method=self.method,
            chunk_size=self.chunk_size,
        )
        values: dict[str, float] = {}
        led = moved = 0.0
        for name, variance in found["variance"].items():
            mean_square = unbiased_mean_square(found["mean"][name], variance, self.examples)
            values[f"split/{name}/mean_square"] = float(mean_square.sum())
            values[f"split/{name}/variance"] = float(variance.sum())
            led += float((mean_square > variance / spec.batch_size).sum())
            moved += float((variance > 0).sum())
        return values | {"split/all/led": led / max(moved, 1.0)}


def unbiased_mean_square(mean: Tensor, variance: Tensor, count: int) -> Tensor:
    """Return the estimate gbar² - v/N of μ² whose expectation is μ² (all [*param]); it may be negative."""
    return mean.square() - variance / count
