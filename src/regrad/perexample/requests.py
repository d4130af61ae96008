"""Acts on: per-example gradients. Which statistics there are, which were asked for, and what each is made of."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.inner_products import dot_product
from regrad.perexample.weights import clipped_mean, group_norms, weighted_mean

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
    "gram": (),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


# Statistics that need arguments: name -> how they are made.
OBJECTS = {
    "clipped_mean": "clipped_mean(max_norm=…)",
    "weighted_mean": "weighted_mean(weight=…)",
    "group_norms": "group_norms(by=…)",
    "dot_product": "dot_product(direction=…)",
    "banded_sign": "banded_sign(dead_band=…)",
}


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

    # name in the answer, in the order asked for -> built-in statistic, or a key of one of the others
    answer: dict[str, str] = field(default_factory=dict)
    clips: dict[str, clipped_mean | weighted_mean] = field(default_factory=dict)
    groups: dict[str, group_norms] = field(default_factory=dict)
    directions: dict[str, dot_product] = field(default_factory=dict)
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
        return bool(self.clips or self.groups) or "norm" in self.answer.values()

    @property
    def needs_group_norms(self) -> bool:
        """Whether the norm over all parameters is not enough."""
        return bool(self.groups) or any(clip.by is not None for clip in self.clips.values())

    @property
    def needs_gram(self) -> bool:
        """Whether pairs of examples are asked for."""
        return "gram" in self.answer.values()

    @property
    def needs_folding(self) -> bool:
        """Whether anything but pairs of examples is asked for."""
        return bool(self.needs_norms or self.kinds or self.functions or self.directions)

    def check_parameters(self, parameters: Mapping[str, Tensor]) -> None:
        """Refuse groups and directions that do not fit the parameters."""
        for asked in (*self.clips.values(), *self.groups.values(), *self.directions.values()):
            asked.check(parameters)


def parse_statistics(statistics: Iterable[Any] | Mapping[str, Any]) -> Request:
    """Sort the caller's statistics into a `Request`.

    Args:
        statistics: names (the keys of `STATISTICS`), objects as `clipped_mean(max_norm=…)` and elementwise
            functions, either listed (an object is then called by its class, "clipped_mean", a function by its
            `__name__`) or as a mapping from the name wanted in the answer.

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
    """Note an object or a function, and return what stands for the statistic inside."""
    # A caller may call a statistic "sign" or "sum", torch.sign is called so by itself: no kind has parentheses.
    key = f"{name}()"
    if isinstance(statistic, clipped_mean | weighted_mean):
        request.clips[key] = statistic
    elif isinstance(statistic, group_norms):
        request.groups[key] = statistic
    elif isinstance(statistic, dot_product):
        request.directions[key] = statistic
    elif isinstance(statistic, str) and statistic in STATISTICS:
        return statistic
    elif isinstance(statistic, str) and statistic in OBJECTS:
        raise ValueError(f"statistics: {statistic!r} needs its arguments; pass {OBJECTS[statistic]}")
    elif isinstance(statistic, type):
        remedy = OBJECTS.get(statistic.__name__, "a function")
        raise ValueError(f"statistics: {statistic.__name__} is a class; pass {remedy}")
    elif callable(statistic):
        request.functions[key] = statistic
    else:
        raise ValueError(
            f"statistics: {statistic!r} is not one of {', '.join([*STATISTICS, *OBJECTS.values()])} or a function"
        )
    return key
