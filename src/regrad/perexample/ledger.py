"""Acts on: per-example gradients. Collects the contributions of one backward pass and folds each parameter's at once.

A parameter is folded when the last of its uses has arrived: contributions of a weight used twice are added
for each example before any nonlinear function sees them.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.contributions import (
    Contribution,
    Dense,
    Factors,
    Rows,
    examples_of,
    merge,
    scaled,
    sum_of_uses,
)
from regrad.perexample.folding import Folder, View, fold_joined
from regrad.perexample.inner_products import add_gram_of_blocks, gram_of
from regrad.perexample.slow_paths import IN_PARTS, Stopwatch
from regrad.perexample.sums import Sums

# Elements of the small per-example gradients that wait to be folded together.
JOINED = 1 << 18


def identity(weight: Tensor) -> Tensor:
    """The view of a parameter that was used as it is."""
    return weight


@dataclass
class Target:
    """What a use refers to: a parameter, a view of one, or a tensor computed from parameters alone."""

    names: tuple[str, ...]  # of the parameters behind it
    tensor: Tensor  # the weight as the forward pass used it
    view: View | None  # for an injective view of one parameter, how to take it; None if only autograd knows


@dataclass
class Ledger:
    """The uses of each target in the forward pass, and what has come back from them."""

    sums: Sums  # where everything ends
    first: int  # index of this micro-batch's first example in the whole batch
    group: int  # examples to a group
    # by name; what the forward pass sees (under sharding, the whole ones)
    parameters: dict[str, Tensor] = field(init=False)
    targets: list[Target] = field(default_factory=list)  # uses refer to them by index
    expected: dict[int, int] = field(default_factory=dict)  # uses of each target in the forward pass
    arrived: dict[int, list[Contribution]] = field(default_factory=dict)  # contributions of each target so far
    derived: set[str] = field(default_factory=set)  # parameters that other targets are made of
    # per-example gradients of small parameters, folded together: calls cost more than they do
    small: list[tuple[str, Tensor]] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self):
        self.parameters = dict(self.sums.parameters)

    def deposit(self, handle: int, contribution: Contribution) -> None:
        """Take one use's contribution; fold the parameter if it was the last one."""
        waiting = self.arrived.setdefault(handle, [])
        waiting.append(contribution)
        target = self.targets[handle]
        # A parameter behind a slice or a computed weight may have other uses under way; it waits for `finish`.
        alone = target.view is not None and not (set(target.names) & self.derived)
        if alone and len(waiting) == self.expected.get(handle):
            self._fold_alone(target, self.arrived.pop(handle))

    def finish(self) -> None:
        """Fold what waited for uses that never came, and parameters reached through several targets."""
        names = dict.fromkeys(name for handle in self.arrived for name in self.targets[handle].names)
        for name in names:
            handles = [h for h in self.arrived if name in self.targets[h].names]
            target = self.targets[handles[0]]
            # A function need not vanish at zero, and outside the view that was used the gradient is zero: it must then
            # see the whole parameter. Squares, signs and absolute values have nothing to add there.
            if len(handles) == 1 and target.view is not None and not self.sums.request.functions:
                self._fold_alone(target, self.arrived[handles[0]])
            else:
                self._fold_together(name, handles)
        self.arrived.clear()
        self._fold_small()

    def _fold_alone(self, target: Target, contributions: list[Contribution]) -> None:
        assert target.view is not None
        name, sums = target.names[0], self.sums
        if sums.gram is not None:
            sums.gram += gram_of(contributions, sums.gram.dtype)
            if not sums.request.needs_folding:
                return
        if sums.weights is not None:
            contributions = [scaled(c, sums.weights[name]) for c in contributions]
        view = None if target.view is identity else target.view
        only = contributions[0] if len(contributions) == 1 and view is None else None
        # Small ones only, and few of them at once: joining copies, and what waits is held.
        if isinstance(only, Dense) and only.block.numel() < JOINED // 4 and not self.sums.request.functions:
            self.small.append((name, only.block))
            if sum(block.numel() for _, block in self.small) >= JOINED:
                self._fold_small()
            return
        folder = Folder(sums, name, self.first, view=view)
        contributions = merge(contributions)
        if len(contributions) == 1:
            folder.fold(contributions[0])
            return
        # A table tied to its head: what was read is added inside the blocks of the product.
        kinds = {type(c): c for c in contributions}
        factors, rows = kinds.get(Factors), kinds.get(Rows)
        if len(contributions) == 2 and isinstance(factors, Factors) and isinstance(rows, Rows):
            folder.fold_factors(factors, rows)
            return
        folder.fold_chunks(examples_of(contributions[0]), lambda part: sum_of_uses(contributions, part))

    def _fold_small(self) -> None:
        alike: dict[Any, list[tuple[str, Tensor]]] = {}
        for name, block in self.small:
            alike.setdefault((block.dtype, block.device), []).append((name, block))
        for blocks in alike.values():
            fold_joined(self.sums, blocks, self.first)
        self.small.clear()

    def _fold_together(self, name: str, handles: list[int]) -> None:
        parameter = self.parameters[name]
        count = examples_of(self.arrived[handles[0]][0])

        def gradients(examples: slice) -> Tensor:
            size = (examples.stop - examples.start, *parameter.shape)
            block = torch.zeros(size, dtype=parameter.dtype, device=parameter.device)
            for handle in handles:
                self._pull_back(name, handle, examples=examples, block=block)
            return block if weights is None else block * weights[examples].view(-1, *[1] * parameter.ndim).to(block)

        sums, weights = self.sums, None if self.sums.weights is None else self.sums.weights[name]
        # The ordinary way goes back once.
        with self.watch.slow(name, IN_PARTS, share=1 - 1 / count):
            if sums.gram is not None:
                add_gram_of_blocks(sums.gram, gradients, parameter.numel())
            if sums.gram is None or sums.request.needs_folding:
                Folder(sums, name, self.first).fold_chunks(count, gradients)

    def _pull_back(self, name: str, handle: int, *, examples: slice, block: Tensor) -> None:
        """Add one target's part to the gradients `block` [c, *parameter] of the parameter behind it."""
        target = self.targets[handle]
        used = sum_of_uses(self.arrived[handle], examples).to(target.tensor.dtype)
        # One example at a time: the way back through autograd, or a view, is that of one parameter.
        for row, gradient in zip(block, used, strict=True):
            if target.view is not None:
                target.view(row).add_(gradient)
            else:
                row.add_(_through_autograd(target.tensor, self.parameters[name], gradient))


def _through_autograd(derived: Tensor, parameter: Tensor, gradient: Tensor) -> Tensor:
    (pulled,) = torch.autograd.grad(
        derived, parameter, gradient.view_as(derived), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return pulled
