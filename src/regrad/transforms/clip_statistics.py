"""Acts on: the per-example gradients: global-norm clipping of a batch, carried through to its statistics.

Clipping the batch's mean gradient multiplies it by a factor a <= 1. The statistics stay those of one
set of per-example gradients only if all of these are multiplied by a, too: squares and variances by a².
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from regrad.transforms.checks import one_of, positive

DEGREES = {"mean": 1, "mean_abs": 1, "mean_square": 2, "variance": 2, "mean_sign": 0}

Statistics = Mapping[str, Mapping[str, Tensor]]


def scale_statistics(statistics: Statistics, factor: float | Tensor) -> dict[str, dict[str, Tensor]]:
    """Return the statistics that the per-example gradients would have if multiplied by ``factor`` > 0.

    Args:
        statistics: {statistic: {parameter name: [*param]}}; statistics out of ``DEGREES``.
        factor: The multiplier a.

    Raises:
        ValueError: If a statistic is not in ``DEGREES``.
    """
    for name in statistics:
        one_of("statistic", name, tuple(DEGREES))
    return {
        name: {param: tensor * factor ** DEGREES[name] for param, tensor in tensors.items()}
        for name, tensors in statistics.items()
    }


def clip_statistics(statistics: Statistics, max_norm: float) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
    """Clip the mean gradient's global norm to ``max_norm`` and scale the other statistics alike.

    Args:
        statistics: As for :func:`scale_statistics`, with a "mean".
        max_norm: Largest Euclidean norm of all means together, > 0.

    Returns:
        The new statistics, and the norm before clipping (0-dim).

    Raises:
        ValueError: If there is no "mean" or ``max_norm`` is not positive.

    Departures:
        The factor is that of ``torch.nn.utils.clip_grad_norm_``, min(1, max_norm/(norm + 1e-6)).
    """
    positive("max_norm", max_norm)
    if "mean" not in statistics:
        raise ValueError(f"statistics must hold 'mean', got {', '.join(map(repr, statistics)) or 'none'}")
    norm = torch.nn.utils.get_total_norm(list(statistics["mean"].values()))
    return scale_statistics(statistics, torch.clamp(max_norm / (norm + 1e-6), max=1.0)), norm
