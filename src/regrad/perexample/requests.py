"""Acts on: per-example gradients. Which statistics there are, which were asked for, and what each is made of."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]

# What can be averaged over the examples: kind -> function of a per-example gradient. Processes reduce in this order.
KINDS: dict[str, Elementwise] = {
    "sum": lambda gradient: gradient,
    "square": torch.square,
    "abs": torch.abs,
    "sign": torch.sign,
}

# What each statistic is made of; one that needs a single kind is that average.
STATISTICS: dict[str, tuple[str, ...]] = {
    "mean": ("sum",),
    "mean_square": ("square",),
    "variance": ("sum", "square"),
    "mean_sign": ("sign",),
    "mean_abs": ("abs",),
    "norm": (),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class clipped_mean:  # noqa: N801 (reads as the statistic's name at the call)
    """The mean over examples of g_i · min(1, max_norm / ‖g_i‖), the norm taken over all trainable parameters.

    Args:
        max_norm: positive and finite; in the units of the gradient of one example's loss.
    """

    max_norm: float

    def __post_init__(self):
        if not _is_number(self.max_norm) or not 0 < self.max_norm < math.inf:
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
        if not _is_number(self.dead_band) or not 0 <= self.dead_band < math.inf:
            raise ValueError(f"dead_band={self.dead_band!r}: a finite number >= 0 is required")

    def __call__(self, gradient: Tensor) -> Tensor:
        """Elementwise, of any shape."""
        return torch.where(gradient.abs() > self.dead_band, gradient.sign(), 0)


@dataclass(frozen=True)
class Request:
    """The statistics asked for."""

    # name in the answer, in the order asked for -> built-in statistic, or a key of `clips` or `functions`
    answer: dict[str, str] = field(default_factory=dict)
    clips: dict[str, clipped_mean] = field(default_factory=dict)  # key -> the clipping
    # key -> an elementwise function of a per-example gradient, to be averaged
    functions: dict[str, Elementwise] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which averages are needed, in the order of `KINDS`: every process must reduce them in the same one."""
        needed = {kind for statistic in self.answer.values() for kind in STATISTICS.get(statistic, ())}
        return tuple(kind for kind in KINDS if kind in needed)

    @property
    def needs_norms(self) -> bool:
        """Whether per-example norms are needed."""
        return bool(self.clips) or "norm" in self.answer.values()


def parse_statistics(statistics: Iterable[Any] | Mapping[str, Any]) -> Request:
    """Sort the caller's statistics into a `Request`.

    Args:
        statistics: names (the keys of `STATISTICS`), `clipped_mean(max_norm=…)` objects and elementwise
            functions, either listed (an object is then called "clipped_mean", a function by its `__name__`)
            or as a mapping from the name wanted in the answer.

    Raises:
        ValueError: for a name that does not exist, a name used twice, or an empty request.
    """
    request = Request()
    if isinstance(statistics, str) or not isinstance(statistics, Iterable):
        raise ValueError(f"statistics={statistics!r}: a list or a mapping of statistics is required")
    pairs = statistics.items() if isinstance(statistics, Mapping) else [(_name(s), s) for s in statistics]
    for name, statistic in pairs:
        if name in request.answer:
            raise ValueError(f"statistics: {name!r} appears twice; give a mapping to name them apart")
        request.answer[name] = _place(request, name, statistic)
    if not request.answer:
        raise ValueError("statistics is empty: ask for at least one")
    return request


def _name(statistic: Any) -> str:
    if isinstance(statistic, str):
        return statistic
    return getattr(statistic, "__name__", type(statistic).__name__)


def _place(request: Request, name: str, statistic: Any) -> str:
    """Note a clip or a function, and return what stands for the statistic inside."""
    # A caller may call a statistic "sign" or "sum", torch.sign is called so by itself: no kind has parentheses.
    key = f"{name}()"
    if isinstance(statistic, clipped_mean):
        request.clips[key] = statistic
    elif isinstance(statistic, str) and statistic in STATISTICS:
        return statistic
    elif statistic == "clipped_mean":
        raise ValueError("statistics: 'clipped_mean' needs its norm; pass clipped_mean(max_norm=…)")
    elif isinstance(statistic, type):
        call: dict[type, str] = {clipped_mean: "clipped_mean(max_norm=…)", banded_sign: "banded_sign(dead_band=…)"}
        raise ValueError(f"statistics: {statistic.__name__} is a class; pass {call.get(statistic, 'a function')}")
    elif callable(statistic):
        request.functions[key] = statistic
    else:
        raise ValueError(
            f"statistics: {statistic!r} is not one of {', '.join(STATISTICS)}, clipped_mean(max_norm=…) or a function"
        )
    return key
