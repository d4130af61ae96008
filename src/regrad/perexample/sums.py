"""Acts on: per-example gradients. The running averages that every statistic is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.requests import KINDS, STATISTICS, Request
from regrad.perexample.weights import clipped_mean, groups_of, weighted_mean

# A variance below this share of the mean square has fewer than three decimal places left in float32. Among a few
# examples, whose variance says little, so small a share is mostly chance, and not worth a second pass.
_CANCELLED, _FEW, _CANCELLED_OF_FEW = 1e-4, 8, 1e-7


def accumulator_dtype(parameter: Tensor) -> torch.dtype:
    """The dtype a parameter's statistics are summed and returned in: its own, but never below float32."""
    return torch.promote_types(parameter.dtype, torch.float32)


@dataclass
class Sums:
    """Sums over examples, divided by their number as they are formed, and one squared norm for each example."""

    request: Request  # the statistics asked for
    parameters: Mapping[str, Tensor]  # trainable ones by name, for shape, dtype and device
    count: int  # number of examples the whole batch has (groups, where `group_size` > 1), over all processes
    rows: int  # number of them in this process
    wide: bool = False  # whether averages are summed in float64
    # kind or function's name -> parameter name -> sum / count
    sums: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    squared_norms: Tensor = field(init=False)  # [rows], filled example by example
    lost: dict[str, Tensor] = field(default_factory=dict)  # parameter name -> where `finish` found no exact variance
    # parameter name -> its part of them [rows], where groups are asked for
    squares: dict[str, Tensor] = field(init=False, default_factory=dict)
    dots: dict[str, Tensor] = field(init=False, default_factory=dict)  # key of a direction -> inner products [rows]
    # parameter name -> of each direction its part, and where products with it are added
    directions: dict[str, list[tuple[Tensor, Tensor]]] = field(init=False, default_factory=dict)
    gram: Tensor | None = field(init=False, default=None)  # [rows, rows], if asked for
    held: list[Tensor] = field(init=False, default_factory=list)  # what the definition of `gram` holds, [c, P]
    # parameter name -> what each of the examples at hand is multiplied by [c]
    weights: Mapping[str, Tensor] | None = None

    def __post_init__(self):
        first = next(iter(self.parameters.values()))
        self.squared_norms = torch.zeros(self.rows, dtype=accumulator_dtype(first), device=first.device)
        if self.request.needs_group_norms:
            self.squares = {name: torch.zeros_like(self.squared_norms) for name in self.parameters}
        if self.request.needs_gram:
            self.gram = self.squared_norms.new_zeros(self.rows, self.rows)
        for key, asked in self.request.directions.items():
            self.dots[key] = torch.zeros_like(self.squared_norms)
            for name, v in asked.direction.items():
                part = v.detach().to(self.parameters[name].device, self.dtype(name))
                self.directions.setdefault(name, []).append((part, self.dots[key]))

    def dtype(self, name: str) -> torch.dtype:
        """The dtype in which a parameter's averages are summed."""
        return torch.float64 if self.wide else accumulator_dtype(self.parameters[name])

    @property
    def weight(self) -> float:
        """What one example counts in an average."""
        return 1 / self.count

    def average(self, kind: str, name: str) -> Tensor:
        """The running average of one kind for one parameter, zero at first."""
        fresh = self.claim(kind, name)
        total = self.sums[kind][name]
        return total.zero_() if fresh else total

    def is_empty(self, kind: str, name: str) -> bool:
        """Whether nothing was added yet."""
        return name not in self.sums.get(kind, {})

    def put(self, kind: str, name: str, average: Tensor) -> None:
        """Take a tensor of the accumulator's shape and dtype as the running average of an empty sum."""
        self.sums.setdefault(kind, {})[name] = average

    def claim(self, kind: str, name: str) -> bool:
        """Whether nothing was added yet; the caller, if so told, must overwrite the running average."""
        by_name = self.sums.setdefault(kind, {})
        if name in by_name:
            return False
        # Made when its layer's turn comes and activations have gone: the peak of a step is then no higher.
        parameter = self.parameters[name]
        by_name[name] = torch.empty(parameter.shape, dtype=self.dtype(name), device=parameter.device)
        return True

    def fold(self, name: str, block: Tensor, first: int) -> None:
        """Add the per-example gradients `block` [c, *parameter] of examples first … first + c."""
        block = block.to(self.dtype(name))
        for kind in self.request.kinds:
            self.average(kind, name).add_(KINDS[kind](block).sum(0), alpha=self.weight)
        for key, function in self.request.functions.items():
            self.average(key, name).add_(function(block).sum(0), alpha=self.weight)
        flat = block.reshape(len(block), -1)
        if self.request.needs_norms:
            self.add_squares(name, flat.square().sum(1), first)
        for v, total in self.directions.get(name, ()):
            total[first : first + len(block)] += flat @ v.reshape(-1)

    def add_squares(self, name: str, squares: Tensor, first: int) -> None:
        """Add a parameter's part of the squared norms of examples first … first + c."""
        # Added, not set: each parameter brings its part of the norm over all of them.
        part = slice(first, first + len(squares))
        squares = squares.to(self.squared_norms)
        self.squared_norms[part] += squares
        if self.squares:
            self.squares[name][part] += squares

    def fold_all(self, blocks: Mapping[str, Tensor], first: int) -> None:
        """Add the gradients of the same examples for every parameter, then what needs their global norm."""
        for name, block in blocks.items():
            self.fold(name, block, first)
        if self.gram is not None:
            self.held.append(torch.cat([b.reshape(len(b), -1).to(self.gram) for b in blocks.values()], 1))
        if not self.request.clips:
            return
        size = len(next(iter(blocks.values())))
        # Complete now that all parameters of these examples are folded, which the surgery knows only after its pass.
        for key, clip in self.request.clips.items():
            factors = self.factors(clip, slice(first, first + size))
            for name, block in blocks.items():
                total = self.average(key, name)
                clipped = torch.tensordot(factors[name].to(total), block.to(total), dims=1)
                total.add_(clipped, alpha=self.weight)

    def factors(self, clip: clipped_mean | weighted_mean, part: slice) -> dict[str, Tensor]:
        """What the gradients of those examples are multiplied by, parameter by parameter: [c] each."""
        if clip.by is None:
            return dict.fromkeys(self.parameters, clip.factors(self.squared_norms[part].sqrt()))
        norms = self.norms_by(clip.by, part)
        by_group = {group: clip.factors(norm, group) for group, norm in norms.items()}
        return {name: by_group[clip.by(name)] for name in self.parameters}

    def norms_by(self, by: Callable[[str], str], part: slice = slice(None)) -> dict[str, Tensor]:
        """The norms [c] of those examples over each group of parameters."""
        groups = groups_of(self.parameters, by)
        squares = {group: [self.squares[name][part] for name in names] for group, names in groups.items()}
        return {group: torch.stack(parts).sum(0).sqrt() for group, parts in squares.items()}

    def finish(self) -> dict[str, Any]:
        """The statistics, in the order they were asked for."""
        answer: dict[str, Any] = {}
        for key, statistic in self.request.answer.items():
            if statistic == "norm":
                answer[key] = self.squared_norms.sqrt()
            elif statistic == "gram":
                answer[key] = torch.cat(self.held) @ torch.cat(self.held).t() if self.held else self.gram
            elif statistic in self.dots:
                answer[key] = self.dots[statistic]
            elif statistic in self.request.groups:
                answer[key] = self.norms_by(self.request.groups[statistic].by)
            elif statistic == "variance":
                answer[key] = {name: self._variance(name) for name in self.parameters}
            else:
                (kind,) = STATISTICS.get(statistic, (statistic,))
                answer[key] = {name: self.average(kind, name) for name in self.parameters}
        return answer

    def cancelled(self) -> dict[str, Tensor]:
        """Where, if anywhere, a variance of `finish` is lost in the rounding of the squares it is the difference of."""
        # Read together: on a GPU each number that is read makes the host wait.
        anywhere = torch.stack([where.any() for where in self.lost.values()]).tolist() if self.lost else []
        return {name: where for (name, where), some in zip(self.lost.items(), anywhere, strict=True) if some}

    def _variance(self, name: str) -> Tensor:
        # Averages over other processes and micro-batches just add up; a running variance would have to be merged.
        square = self.average("square", name)
        spread = square - self.average("sum", name).square()
        if square.dtype != torch.float64:
            share = _CANCELLED if self.count >= _FEW else _CANCELLED_OF_FEW
            self.lost[name] = (spread < share * square) & (square > 0)
        # Rounding can leave a constant coordinate a hair below zero.
        return spread.mul_(self.count / (self.count - 1)).clamp_(min=0)
