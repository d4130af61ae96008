"""How much of the second moment is mean and how much is variance, measured from per-example gradients."""

import math

from torch import Tensor

from regrad.perexample.engine import gradient_statistics
from regrad.results import Spec
from regrad.runner.measures import Checkpoint


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
        return step in {round(share * spec.steps) for share in self.shares}

    def __call__(self, checkpoint: Checkpoint) -> dict[str, float]:
        batch_size, problem = checkpoint.spec.batch_size, checkpoint.problem
        # The first block of N examples that lies wholly beyond the end of the run: the mean of examples
        # that were trained on is smaller than μ.
        block = math.ceil(checkpoint.spec.steps * batch_size / self.examples)
        statistics = gradient_statistics(
            checkpoint.model,
            problem.losses,
            problem.batch(block, self.examples),
            ["mean", "variance"],
            method=self.method,
            chunk_size=self.chunk_size,
        )
        sums: dict[str, float] = {}
        led = moved = 0.0
        for name, variance in statistics["variance"].items():
            mean_square = unbiased_mean_square(statistics["mean"][name], variance, self.examples)
            sums[f"split/{name}/mean_square"] = float(mean_square.sum())
            sums[f"split/{name}/variance"] = float(variance.sum())
            led += float((mean_square > variance / batch_size).sum())
            # Rows of an embedding whose token no example holds have no gradient to split.
            moved += float((variance > 0).sum())
        return sums | {"split/all/led": led / max(moved, 1.0)}


def unbiased_mean_square(mean: Tensor, variance: Tensor, examples: int) -> Tensor:
    """Return the estimate gbar² - v/N of μ² whose expectation is μ² (all [*param]); it may be negative."""
    return mean.square() - variance / examples
