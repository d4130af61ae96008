"""What one step of the Adam family needs of the caller's statistics: looked up by name, checked, scaled.

Acts on: the per-example gradients, through their mean and variance (or mean square).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from regrad.transforms.adam_family import coefficient

# What DistributedDataParallel, DataParallel and torch.compile put before the names of the parameters they wrap.
PREFIXES = ("module.", "_orig_mod.")
Statistics = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class BatchStatistics:
    """What the caller passed to one step: statistics by kind and parameter, and the examples behind them."""

    statistics: Statistics
    batch_size: int | None

    def __post_init__(self) -> None:
        kinds = self.statistics
        if not isinstance(kinds, Mapping) or (kinds and not any(isinstance(x, Mapping) for x in kinds.values())):
            what = f"tensors at {', '.join(map(repr, kinds))}" if isinstance(kinds, Mapping) else type(kinds).__name__
            raise ValueError(f"statistics must be the whole answer of gradient_statistics, got {what}")


@dataclass(frozen=True)
class Sample:
    """What a batch gives to ν: gbar² + ``scale`` · ``spread``, or ``spread`` alone where it ``replaces``."""

    spread: Tensor
    scale: float = 1.0
    replaces: bool = False
    may_be_negative: bool = False


def step_inputs(group: dict[str, Any], batch: BatchStatistics) -> list[tuple[Tensor, Tensor, Sample | None]]:
    """Return (parameter, gradient, sample) for each parameter of the group that has a gradient.

    The sample is None for "adam", whose ν averages gbar² and nothing else.

    Raises:
        ValueError, TypeError, RuntimeError: As ``MicroAdam.step`` says.
    """
    if batch.statistics and "param_names" not in group:
        raise ValueError("statistics are looked up by parameter name: pass model.named_parameters()")
    names = group.get("param_names", [""] * len(group["params"]))
    inputs = []
    for name, param in zip(names, group["params"], strict=True):
        grad = _gradient(name, param, batch.statistics)
        if grad is not None:
            sample = _sample(name, param, preconditioner=group["preconditioner"], batch=batch)
            inputs.append((param, grad, sample))
    return inputs


def _gradient(name: str, param: Tensor, statistics: Statistics) -> Tensor | None:
    mean = statistic_of("mean", name, param, statistics)
    if param.grad is None:
        if mean is None and param.requires_grad and statistics.get("mean"):
            known = ", ".join(map(repr, list(statistics["mean"])[:3]))
            raise ValueError(
                f"the parameter {name!r} has no gradient, and statistics['mean'] does not know it: it has {known}, …; "
                "pass the named_parameters() of the model that the statistics are of"
            )
        return mean
    if param.grad.is_sparse:
        raise RuntimeError("MicroAdam does not support sparse gradients: use Embedding(sparse=False)")
    if mean is not None and mean.data_ptr() != param.grad.data_ptr():
        raise ValueError(
            f"the gradient of {name!r} is given twice: call zero_grad() before step(), "
            "or leave 'mean' out of the statistics"
        )
    return param.grad


def _sample(name: str, param: Tensor, *, preconditioner: str | float, batch: BatchStatistics) -> Sample | None:
    c = coefficient(preconditioner)
    if c is None:
        return None
    if param.is_complex():
        raise TypeError(f"preconditioner={preconditioner!r} refuses complex parameters like {name!r}")
    if preconditioner == "micro":
        square = statistic_of("mean_square", name, param, batch.statistics)
        if square is not None:
            return Sample(square, replaces=True)
    variance = statistic_of("variance", name, param, batch.statistics)
    if variance is None:
        needed = "'mean_square' or 'variance'" if preconditioner == "micro" else "'variance'"
        raise ValueError(
            f"preconditioner={preconditioner!r} needs the statistic {needed} of {name!r} at every step, from "
            "regrad.gradient_statistics: step(statistics=…, batch_size=…)"
        )
    if c == math.inf:
        return Sample(variance, replaces=True)
    if batch.batch_size is None or batch.batch_size < 2:
        raise ValueError(f"preconditioner={preconditioner!r} needs batch_size >= 2, got {batch.batch_size}")
    return Sample(variance, scale=c - 1 / batch.batch_size, may_be_negative=c < 1)


def statistic_of(kind: str, name: str, param: Tensor, statistics: Statistics) -> Tensor | None:
    """Return the statistic of a parameter in its dtype, None if there is none; wrappers' prefixes are understood.

    Raises:
        ValueError: If it has another shape.
    """
    tensors = statistics.get(kind, {})
    while name not in tensors and name.startswith(PREFIXES):
        name = name.partition(".")[2]
    tensor = tensors.get(name)
    if tensor is not None and tensor.shape != param.shape:
        shapes = f"{list(param.shape)}, got {list(tensor.shape)}"
        raise ValueError(f"statistics[{kind!r}][{name!r}] must have its parameter's shape {shapes}")
    return None if tensor is None else tensor.to(param.dtype)
