"""Acts on: per-example gradients. Says which statistics were asked for and which sums each one needs."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]

# What must be summed over the examples before each statistic can be formed.
NEEDS: dict[str, tuple[str, ...]] = {
    "mean": ("sum",),
    "mean_square": ("square",),
    "variance": ("sum", "square"),
    "mean_sign": ("sign",),
    "mean_abs": ("abs",),
    "norm": (),
}


@dataclass(frozen=True)
class clipped_mean:  # noqa: N801 (reads as the statistic's name at the call)
    """The mean over examples of g_i · min(1, max_norm / ‖g_i‖), the norm taken over all trainable parameters.

    Args:
        max_norm: positive and finite; in the units of the gradient of one example's loss.
    """

    max_norm: float

    def __post_init__(self):
        if isinstance(self.max_norm, bool) or not 0 < self.max_norm < math.inf:
            raise ValueError(f"max_norm={self.max_norm!r}: a positive finite number is required")

    def factors(self, norms: Tensor) -> Tensor:
        """What each example's gradient is multiplied by [B], given its norm [B]."""
        return torch.clamp(self.max_norm / norms, max=1.0).nan_to_num(nan=1.0)


@dataclass(frozen=True)
class banded_sign:  # noqa: N801 (reads as the statistic's name at the call)
    """The mean over examples of sign(g_i), where |g_i| <= dead_band counts as zero.

    Some gradients are zero on paper and rounding noise in the machine, the key bias of softmax attention before all:
    "mean_sign" takes the noise at its word, as the definition does, and its methods may then differ there.

    Args:
        dead_band: >= 0 and finite; in the units of the gradient of one example's loss.
    """

    dead_band: float

    def __post_init__(self):
        if isinstance(self.dead_band, bool) or not 0 <= self.dead_band < math.inf:
            raise ValueError(f"dead_band={self.dead_band!r}: a finite number >= 0 is required")

    def __call__(self, gradient: Tensor) -> Tensor:
        """Elementwise, of any shape."""
        return torch.where(gradient.abs() > self.dead_band, gradient.sign(), 0)


@dataclass(frozen=True)
class Request:
    """The statistics asked for, by the name each will have in the answer.

    Attributes:
        named: answer's name -> built-in statistic's name.
        clips: answer's name -> the clipping.
        functions: answer's name -> an elementwise function of a per-example gradient, to be averaged.
    """

    named: dict[str, str] = field(default_factory=dict)
    clips: dict[str, clipped_mean] = field(default_factory=dict)
    functions: dict[str, Elementwise] = field(default_factory=dict)

    @property
    def order(self) -> dict[str, str]:
        """Answer's name -> built-in statistic, or "" for a clipped mean or a function."""
        return {**self.named, **dict.fromkeys((*self.clips, *self.functions), "")}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which of the sums are needed; in one order in every process, because they are reduced one by one."""
        needed = {kind for name in self.named.values() for kind in NEEDS[name]}
        return tuple(kind for kind in ("sum", "square", "abs", "sign") if kind in needed)

    @property
    def norms(self) -> bool:
        """Whether per-example norms are needed."""
        return bool(self.clips) or "norm" in self.named.values()


def parse_statistics(statistics: Iterable[Any] | Mapping[str, Any]) -> Request:
    """Sort the caller's statistics into a `Request`.

    Args:
        statistics: names (the keys of `NEEDS`), `clipped_mean(max_norm=…)` objects and elementwise
            functions, either listed (an object is then called "clipped_mean", a function by its `__name__`)
            or as a mapping from the name wanted in the answer.

    Raises:
        ValueError: for a name that does not exist, a name used twice, or an empty request.
    """
    request = Request()
    if isinstance(statistics, str) or not isinstance(statistics, Iterable):
        raise ValueError(f"statistics={statistics!r}: a list or a mapping of statistics is required")
    pairs = statistics.items() if isinstance(statistics, Mapping) else [(_name(s), s) for s in statistics]
    for key, wanted in pairs:
        if key in request.named or key in request.clips or key in request.functions:
            raise ValueError(f"statistics: {key!r} appears twice; give a mapping to name them apart")
        _place(request, key, wanted)
    if not (request.named or request.clips or request.functions):
        raise ValueError("statistics is empty: ask for at least one")
    return request


def _name(wanted: Any) -> str:
    if isinstance(wanted, str):
        return wanted
    return getattr(wanted, "__name__", type(wanted).__name__)


def _place(request: Request, key: str, wanted: Any) -> None:
    if isinstance(wanted, clipped_mean):
        request.clips[key] = wanted
    elif isinstance(wanted, str) and wanted in NEEDS:
        request.named[key] = wanted
    elif wanted == "clipped_mean":
        raise ValueError("statistics: 'clipped_mean' needs its norm; pass clipped_mean(max_norm=…)")
    elif callable(wanted):
        request.functions[key] = wanted
    else:
        raise ValueError(
            f"statistics: {wanted!r} is not one of {', '.join(NEEDS)}, clipped_mean(max_norm=…) or a function"
        )
