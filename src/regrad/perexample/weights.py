"""Acts on: per-example gradients. What an example counts in a mean: a function of its gradient's norm.

The norm is taken over all trainable parameters, or over each group of them that `by` forms from their names.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

GroupOf = Callable[[str], str]


def layer_of(name: str) -> str:
    """The module that holds a parameter: "blocks.0.up" for "blocks.0.up.weight", "" for a parameter of the model's."""
    return name.rpartition(".")[0]


def groups_of(names: Iterable[str], by: GroupOf) -> dict[str, list[str]]:
    """The names, group by group.

    Raises:
        ValueError: if `by` does not name a group.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        group = by(name)
        if not isinstance(group, str):
            raise ValueError(f"by({name!r}) returned {group!r}: the name of a group, a string, is required")
        groups.setdefault(group, []).append(name)
    return groups


@dataclass(frozen=True)
class clipped_mean:  # noqa: N801 (reads as the statistic's name at the call)
    """The mean over examples of g_i · min(1, max_norm / ‖g_i‖), the norm taken over all trainable parameters.

    Args:
        max_norm: positive and finite; in the units of the gradient of one example's loss. With `by` also a mapping
            from each group to its own.
        by: a function from a parameter's name to its group's, as `layer_of`: every group is then clipped by itself,
            by its own norm. `by=str` makes each parameter a group. All are one group if None.
    """

    max_norm: float | Mapping[str, float]
    by: GroupOf | None = None

    def __post_init__(self):
        if isinstance(self.max_norm, Mapping) and self.by is None:
            raise ValueError("clipped_mean: a mapping of norms needs by=, which says what the groups are")
        norms = self.max_norm.values() if isinstance(self.max_norm, Mapping) else [self.max_norm]
        for norm in norms:
            if isinstance(norm, bool) or not isinstance(norm, Real) or not 0 < norm < math.inf:
                raise ValueError(f"max_norm={norm!r}: a positive finite number is required")

    def check(self, names: Iterable[str]) -> None:
        """Refuse groups that do not fit the parameters' names."""
        groups = {} if self.by is None else groups_of(names, self.by)
        if isinstance(self.max_norm, Mapping) and set(self.max_norm) != set(groups):
            group = min(set(self.max_norm) ^ set(groups))
            raise ValueError(f"max_norm: group {group!r} is either not among the norms given or not among the groups")

    def factors(self, norms: Tensor, group: str = "") -> Tensor:
        """What each example's gradient is multiplied by [B], given its norm [B]."""
        most = self.max_norm[group] if isinstance(self.max_norm, Mapping) else self.max_norm
        return torch.clamp(most / norms, max=1.0).nan_to_num(nan=1.0)


@dataclass(frozen=True)
class weighted_mean:  # noqa: N801
    """The mean over examples of g_i · weight(‖g_i‖): automatic clipping, normalized gradients, trimmed means.

    Args:
        weight: takes the norms [B] and returns what each example counts [B], as `lambda norm: 1 / (norm + 0.01)`;
            it sees the examples of one micro-batch and one process, so it should act elementwise.
        by: as for `clipped_mean`.
    """

    weight: Callable[[Tensor], Tensor]
    by: GroupOf | None = None

    def __post_init__(self):
        if not callable(self.weight):
            raise ValueError(f"weight={self.weight!r}: a function of the norms [B] is required")

    def check(self, names: Iterable[str]) -> None:
        """Refuse groups that do not fit the parameters' names."""
        if self.by is not None:
            groups_of(names, self.by)

    def factors(self, norms: Tensor, group: str = "") -> Tensor:
        """What each example's gradient is multiplied by [B], given its norm [B].

        Raises:
            ValueError: unless there is a finite number for every example with a finite norm.
        """
        factors, of_group = self.weight(norms), f" of group {group!r}" if group else ""
        if not isinstance(factors, Tensor) or factors.shape != norms.shape:
            shape = list(factors.shape) if isinstance(factors, Tensor) else type(factors).__name__
            raise ValueError(f"weighted_mean: weight returned {shape} for norms {list(norms.shape)}{of_group}")
        wrong = norms.isfinite() & ~factors.isfinite()
        if bool(wrong.any()):
            norm, factor = float(norms[wrong][0]), float(factors[wrong][0])
            raise ValueError(f"weighted_mean: weight({norm:g}){of_group} is {factor}; a finite number is required")
        return factors


@dataclass(frozen=True)
class group_norms:  # noqa: N801
    """The norm of each example's gradient over each group of parameters: {group: [B]}.

    Args:
        by: a function from a parameter's name to its group's: `layer_of`, or `str` for each parameter alone.
    """

    by: GroupOf = layer_of

    def __post_init__(self):
        if not callable(self.by):
            raise ValueError(f"by={self.by!r}: a function from a parameter's name to its group's is required")

    def check(self, names: Iterable[str]) -> None:
        """Refuse groups that do not fit the parameters' names."""
        groups_of(names, self.by)
