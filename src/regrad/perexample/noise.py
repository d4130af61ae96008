"""Acts on: nothing. How noisy a batch's gradient is, by the norms of its examples' gradients."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor


class NoiseScale(NamedTuple):
    """Two estimates without bias; average each over several steps before their ratio is taken.

    Attributes:
        trace: tr(Σ), the variance of one example's gradient, all entries added up.
        squared_norm: |G|² of the true gradient; by chance it may be below zero.
    """

    trace: float
    squared_norm: float

    @property
    def scale(self) -> float:
        """B_simple = tr(Σ) / |G|², in examples: batches far below are mostly noise, far above a waste.

        Infinite where the batch shows no gradient beyond the noise.
        """
        return self.trace / self.squared_norm if self.squared_norm > 0 else math.inf


def noise_scale(statistics: Mapping[str, Any]) -> NoiseScale:
    """The simple gradient noise scale, from "mean" and "norm" of one batch of B >= 2 examples.

    With ḡ the batch's mean gradient, tr(Σ) = (Σ_i |g_i|² − B |ḡ|²) / (B − 1) and |G|² = |ḡ|² − tr(Σ) / B.

    Args:
        statistics: an answer of `gradient_statistics` with "mean" and "norm", or several merged; with `parameters=`
            the noise is theirs, with `group_size=` that of groups.

    Raises:
        ValueError: if either is missing, or there is one example only.

    Source: McCandlish et al., "An empirical model of large-batch training" (arXiv 1812.06162), equation 2.9, estimated
        as in appendix A.1 with batches of one and of B examples.
    """
    missing = [name for name in ("mean", "norm") if name not in statistics]
    if missing or not isinstance(statistics["mean"], Mapping) or not isinstance(statistics["norm"], Tensor):
        raise ValueError("noise_scale: the statistics 'mean' and 'norm' of a batch are required, by these names")
    B = len(statistics["norm"])
    if B < 2:
        raise ValueError(f"noise_scale: {B} example has no variance; 2 or more are required")
    of_mean = sum(float(mean.double().square().sum()) for mean in statistics["mean"].values())
    trace = (float(statistics["norm"].double().square().sum()) - B * of_mean) / (B - 1)
    return NoiseScale(trace, of_mean - trace / B)
