"""Acts on: per-example gradients. The running sums that every statistic is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.requests import Request


def accumulator_dtype(parameter: Tensor) -> torch.dtype:
    """The dtype a parameter's statistics are summed and returned in: its own, but never below float32."""
    return torch.promote_types(parameter.dtype, torch.float32)


@dataclass
class Sums:
    """Sums over examples, each of the parameter's shape, and one squared norm per example.

    Nothing here is divided by the number of examples; `finish` divides.

    Attributes:
        request: the statistics asked for.
        like: trainable parameters by name, for shape, dtype and device.
        count: number of examples the whole batch has (groups, where `group_size` > 1).
        sums: kind or function's name -> parameter name -> sum.
        squared_norms: [count], filled example by example.
    """

    request: Request
    like: Mapping[str, Tensor]
    count: int
    sums: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    squared_norms: Tensor = field(init=False)

    def __post_init__(self):
        first = next(iter(self.like.values()))
        self.squared_norms = torch.zeros(self.count, dtype=accumulator_dtype(first), device=first.device)

    def of(self, kind: str, name: str) -> Tensor:
        """The running sum of one kind for one parameter, zero at first."""
        parameter = self.like[name]
        by_name = self.sums.setdefault(kind, {})
        if name not in by_name:
            dtype = accumulator_dtype(parameter)
            by_name[name] = torch.zeros(parameter.shape, dtype=dtype, device=parameter.device)
        return by_name[name]

    def fold(self, name: str, block: Tensor, first: int) -> None:
        """Add the per-example gradients `block` [c, *parameter] of examples first … first + c."""
        kinds = self.request.kinds
        block = block.to(accumulator_dtype(self.like[name]))
        if "sum" in kinds:
            self.of("sum", name).add_(block.sum(0))
        if "square" in kinds:
            self.of("square", name).add_(block.square().sum(0))
        if "sign" in kinds:
            self.of("sign", name).add_(block.sign().sum(0))
        if "abs" in kinds:
            self.of("abs", name).add_(block.abs().sum(0))
        for key, function in self.request.functions.items():
            self.of(key, name).add_(function(block).sum(0))
        if self.request.norms:
            rows = self.squared_norms[first : first + len(block)]
            rows.add_(block.flatten(1).square().sum(1).to(rows))

    def fold_all(self, blocks: Mapping[str, Tensor], first: int) -> None:
        """Add the gradients of the same examples for every parameter, then what needs their global norm."""
        for name, block in blocks.items():
            self.fold(name, block, first)
        if not self.request.clips:
            return
        size = len(next(iter(blocks.values())))
        norms = self.squared_norms[first : first + size].sqrt()
        for key, clip in self.request.clips.items():
            for name, block in blocks.items():
                self.of(key, name).add_(weighted_sum(clip.factors(norms), block.to(self.of(key, name).dtype)))

    def finish(self) -> dict[str, Any]:
        """Divide: by the number of examples, or for the variance by that number less one."""
        count = self.count
        answer: dict[str, Any] = {}
        for key in (*self.request.named, *self.request.clips, *self.request.functions):
            statistic = self.request.named.get(key, key)
            if statistic == "norm":
                answer[key] = self.squared_norms.sqrt()
            elif statistic == "variance":
                answer[key] = {name: self._variance(name, count) for name in self.like}
            else:
                kind = SUM_OF.get(statistic, statistic) if key in self.request.named else key
                answer[key] = {name: self.of(kind, name) / count for name in self.like}
        return answer

    def _variance(self, name: str, count: int) -> Tensor:
        total = self.of("sum", name)
        # Rounding can leave a constant coordinate a hair below zero.
        return torch.clamp((self.of("square", name) - total.square() / count) / (count - 1), min=0)


SUM_OF = {"mean": "sum", "mean_square": "square", "mean_sign": "sign", "mean_abs": "abs"}


def weighted_sum(weights: Tensor, block: Tensor) -> Tensor:
    """Sum over the first axis of weights [c] times block [c, *shape]."""
    return torch.tensordot(weights.to(block), block, dims=1)
