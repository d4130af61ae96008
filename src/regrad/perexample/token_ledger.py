"""Acts on: per-example gradients. What each token position contributes to a weight, folded without forming it.

A contribution is a rank-one matrix g aᵀ, one row of a table, or a vector. Functions with f(ab) = f(a) f(b) go through
the first: over all positions Σ f(g aᵀ) = f(G)ᵀ f(A), one product of the ordinary weight gradient's size.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.contributions import Contribution, Dense, Factors, Rows
from regrad.perexample.ledger import Ledger, Target
from regrad.perexample.products import product
from regrad.perexample.requests import KINDS
from regrad.perexample.sums import accumulator_dtype

REMEDY = "freeze it (requires_grad_(False)) or use gradient_statistics, whose unit is the whole example"

# Tokens whose factors are transformed and transposed at once; they stay in the cache until their product is formed.
_TOKENS = 256


def positions_of(contribution: Any) -> int:
    """How many positions T of each example the contribution holds."""
    return (contribution.block if isinstance(contribution, Dense) else contribution.G).shape[1]


@dataclass
class TokenLedger(Ledger):
    """A ledger whose unit is the position; squared norms grow in `sums.squared_norms`, which becomes [B, T]."""

    mask: Tensor | None = None  # [B, T] of the whole batch, true where a token counts

    def deposit(self, handle: int, contribution: Contribution) -> None:
        """Take one use's contribution; fold the parameter if it was the last one."""
        target = self.targets[handle]
        if isinstance(contribution, Dense) and contribution.block.ndim != target.tensor.ndim + 2:
            names = ", ".join(target.names)
            raise ValueError(f"{names}: its layer's registered rule gives examples, not tokens; {REMEDY}")
        waiting = self.arrived.setdefault(handle, [])
        waiting.append(self._without_padding(contribution, target))
        if len(waiting) == self.expected.get(handle) and not set(target.names) & self.derived:
            self._fold_uses(target, self.arrived.pop(handle))

    def finish(self) -> None:
        """Fold what waited for uses that never came."""
        reached: set[str] = set()
        for handle, contributions in self.arrived.items():
            target = self.targets[handle]
            if target.view is None or reached & set(target.names):
                raise ValueError(f"{', '.join(target.names)}: computed with, or used in several parts; {REMEDY}")
            reached.update(target.names)
            self._fold_uses(target, contributions)
        self.arrived.clear()

    def _fold_uses(self, target: Target, uses: list[Contribution]) -> None:
        name, counts = target.names[0], {positions_of(use) for use in uses}
        factors = [use for use in uses if isinstance(use, Factors)]
        rows = [use for use in uses if isinstance(use, Rows)]
        vectors = [use.block for use in uses if isinstance(use, Dense)]
        if len(counts) > 1:
            raise ValueError(f"{name}: used at {sorted(counts)} positions, which are not the same tokens; {REMEDY}")
        if len(factors) > 1 or len(rows) > 1 or (vectors and (factors or rows)):
            raise ValueError(f"{name}: used {len(uses)} times; what a token adds has no longer rank one; {REMEDY}")
        # In this order: the rows of a table correct what its tied product has added.
        scales = self._scales(counts.pop())
        if vectors:
            self._fold_vectors(target, reduce(torch.add, vectors), scales)
        if factors:
            self._fold_products(target, factors[0], scales)
        if rows:
            self._fold_rows(target, rows[0], factors[0] if factors else None, scales)

    def _without_padding(self, contribution: Any, target: Target) -> Any:
        """Nothing at positions that do not count: every function that is averaged is zero at zero."""
        if not self._is_masked(T := positions_of(contribution)):
            if self.mask is not None and T > 1:
                names, own = ", ".join(target.names), self.mask.shape[1]
                raise ValueError(f"mask: it has {own} positions, the layer of {names} {T}; mask what the layers see")
            return contribution
        value = contribution.block if isinstance(contribution, Dense) else contribution.G
        assert self.mask is not None
        here = self.mask[self.first : self.first + len(value)].to(value.device)
        masked = torch.where(here.view(*here.shape, *[1] * (value.ndim - 2)), value, 0)
        return replace(contribution, **{"block" if isinstance(contribution, Dense) else "G": masked})

    def _is_masked(self, T: int) -> bool:
        return self.mask is not None and self.mask.shape[1] == T

    def _scales(self, T: int) -> dict[str, float]:
        """What the sums over all contributions c are multiplied by: the statistics are of T c, over B T tokens."""
        B = self.sums.count
        if self._is_masked(T):
            assert self.mask is not None
            N = int(self.mask.sum())
            return {"sum": 1 / B, "abs": 1 / B, "square": N / B**2, "sign": 1 / N, "norm": (N / B) ** 2}
        return {"sum": 1 / B, "abs": 1 / B, "square": T / B, "sign": 1 / (B * max(1, T)), "norm": float(T * T)}

    def _total(self, target: Target, kind: str) -> Tensor:
        """The running average, seen as the forward pass saw the parameter."""
        assert target.view is not None
        return target.view(self.sums.average(kind, target.names[0]))

    def _fold_vectors(self, target: Target, block: Tensor, scales: dict[str, float]) -> None:
        block = block.to(accumulator_dtype(target.tensor))
        for kind in self.sums.request.kinds:
            self._total(target, kind).add_(KINDS[kind](block).sum((0, 1)), alpha=scales[kind])
        if self.sums.request.needs_norms:
            self._add_norms(target, block.flatten(2).square().sum(2) if block.ndim > 2 else block.square(), scales)

    def _fold_products(self, target: Target, factors: Factors, scales: dict[str, float]) -> None:
        dtype = accumulator_dtype(target.tensor)
        G, A = factors.G.flatten(0, 1), factors.A.flatten(0, 1)
        totals = {kind: self._total(target, kind) for kind in self.sums.request.kinds}
        for g, a in zip(G.split(_TOKENS), A.split(_TOKENS), strict=True):
            g, a = g.to(dtype), a.to(dtype)
            for kind, total in totals.items():
                left, right = KINDS[kind](g), KINDS[kind](a)
                total.add_(product(left.t(), right), alpha=scales[kind])
        if self.sums.request.needs_norms:
            squares = [torch.linalg.vector_norm(x, dim=2, dtype=dtype).square() for x in (factors.G, factors.A)]
            self._add_norms(target, squares[0] * squares[1], scales)

    def _fold_rows(self, target: Target, rows: Rows, tied: Factors | None, scales: dict[str, float]) -> None:
        """A table read by index. A tied product was folded before; here it is corrected in the one row both touch."""
        dtype, tokens = accumulator_dtype(target.tensor), rows.tokens.flatten()
        read = (tokens >= 0) & (tokens < rows.rows)
        row, R = tokens[read], rows.G.flatten(0, 1)[read].to(dtype)
        g, a = _product_in_row(tied, row, read, R)
        for kind in self.sums.request.kinds:
            function = KINDS[kind]
            # The sum needs no correction, only what is added; to subtract what was added would round it twice.
            change = R if kind == "sum" else function(g * a + R) - function(g) * function(a)
            self._total(target, kind).index_add_(0, row, change, alpha=scales[kind])
        if self.sums.request.needs_norms:
            squares = R.new_zeros(len(tokens)).masked_scatter_(read, (R * (R + 2 * g * a)).sum(1))
            self._add_norms(target, squares.view(rows.tokens.shape), scales)

    def _add_norms(self, target: Target, squares: Tensor, scales: dict[str, float]) -> None:
        sums, T = self.sums, squares.shape[1]
        if sums.squared_norms.ndim == 1:
            sums.squared_norms = sums.squared_norms.new_zeros(sums.rows, T)
        others = sums.squared_norms.shape[1]
        if others != T:
            name = target.names[0]
            raise ValueError(f"norm: {name} has {T} positions, other parameters {others}; freeze it or leave norm out")
        sums.squared_norms[self.first : self.first + len(squares)] += scales["norm"] * squares


def _product_in_row(tied: Factors | None, row: Tensor, read: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    """The tied product's factors in the rows that are read: g [u, 1] and a [u, d]; zeros if there is none."""
    if tied is None:
        return R.new_zeros(len(R), 1), R.new_zeros(1, R.shape[1])
    G, A = (x.flatten(0, 1)[read].to(R.dtype) for x in (tied.G, tied.A))
    return G.gather(1, row.unsqueeze(1)), A
