"""Acts on: per-example gradients. What one use of a weight leaves behind in the backward pass: factors, not products.

Each contribution knows the gradient [*weight] of a single example and of a chunk of them, from factors that
are no larger than activations. The example axis is first in every factor; with groups of k examples, [k·T]
positions of one group stand where the T positions of one example would.

A rule packs what it has at hand, the examples not grouped yet, and `unpack`, which knows the groups, makes the
contribution of it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regrad.perexample.batches import by_group
from regrad.perexample.convolved import Convolved, Packed
from regrad.perexample.tables import Bags, Rows


@dataclass(frozen=True)
class Factors:
    """A weight [o, i] used as y = x Wᵀ: example e has gradient G_eᵀ A_e."""

    G: Tensor  # [n, T, o], gradient with respect to y
    A: Tensor  # [n, T, i], the layer's input
    together = 1  # how many rows of the weight `restrict` cannot part

    @staticmethod
    def pack(g: Tensor, x: Tensor) -> Packed:
        """The gradient with respect to y [B, …, o], and x [B, …, i]."""
        return "linear", [g, x], []

    @classmethod
    def unpack(cls, tensors: list[Tensor], _: list[int], group: int) -> "Factors":
        """Any axes between examples and features become positions."""
        G, A = (by_group(x, group).flatten(1, -2) if x.ndim > 2 else by_group(x, group) for x in tensors)
        return cls(G, A)

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, o, i] of those examples."""
        return torch.bmm(self.G[examples].transpose(1, 2), self.A[examples])

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's [o, i]."""
        return self.G.shape[2], self.A.shape[2]

    def restrict(self, part: slice) -> "Factors":
        """What it adds to those rows of the weight alone."""
        return replace(self, G=self.G[:, :, part])

    def along(self, v: Tensor) -> Tensor:
        """The inner products [n] of the gradients with v [o, i], whose dtype they have."""
        return ((self.A.to(v.dtype) @ v.t()) * self.G.to(v.dtype)).sum((1, 2))


@dataclass(frozen=True)
class Dense:
    """Per-example gradients that are no larger than the activations: biases, scales, positions."""

    block: Tensor  # [n, *weight]
    together = 1

    @staticmethod
    def pack(block: Tensor) -> Packed:
        """The gradients of the examples [B, *weight]."""
        return "dense", [block], []

    @classmethod
    def of_rows(cls, block: Tensor, rows: int) -> Packed:
        """Likewise of [B·rows, *weight], whose rows are added for each example."""
        return cls.pack(block if rows == 1 else by_group(block, rows).sum(1))

    @classmethod
    def unpack(cls, tensors: list[Tensor], _: list[int], group: int) -> "Dense":
        """A group's gradients are added at once: a dense block has no positions to keep apart."""
        (block,) = tensors
        return cls(block if group == 1 else by_group(block, group).sum(1))

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, *weight] of those examples."""
        return self.block[examples]

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        return self.block.shape[1:]

    def restrict(self, part: slice) -> "Dense":
        """What it adds to those rows of the weight alone."""
        return Dense(self.block[:, part])


Contribution = Factors | Rows | Bags | Dense | Convolved
_FORMS: dict[str, type[Contribution]] = {
    "linear": Factors, "rows": Rows, "bags": Bags, "dense": Dense, "convolution": Convolved,
}  # fmt: skip


def unpack(packed: Packed, group: int) -> Contribution:
    """The contribution that a rule packed.

    Args:
        packed: of one of the classes' `pack`.
        group: consecutive examples to a group, whose gradients are added.
    """
    form, tensors, numbers = packed
    return _FORMS[form].unpack(tensors, numbers, group)


def examples_of(contribution: Contribution) -> int:
    """How many examples (or groups) the contribution holds."""
    return len(contribution.block if isinstance(contribution, Dense) else contribution.G)


def scaled(contribution: Contribution, weights: Tensor) -> Contribution:
    """The contribution of losses that are multiplied by weights [n]."""
    field = "block" if isinstance(contribution, Dense) else "G"
    value = getattr(contribution, field)
    return replace(contribution, **{field: value * weights.view(-1, *[1] * (value.ndim - 1))})


def sum_of_uses(contributions: list[Contribution], examples: slice) -> Tensor:
    """The gradients [c, *weight] of a chunk of examples, added over the uses of one weight."""
    total = contributions[0].chunk(examples)
    for contribution in contributions[1:]:
        total = total + contribution.chunk(examples)
    return total


def merge(contributions: list[Contribution]) -> list[Contribution]:
    """Uses of one weight in one layer called several times become one use at more positions."""
    factors = [c for c in contributions if isinstance(c, Factors)]
    if len(factors) < 2:
        return contributions
    joined = Factors(torch.cat([c.G for c in factors], 1), torch.cat([c.A for c in factors], 1))
    return [joined, *(c for c in contributions if not isinstance(c, Factors))]
