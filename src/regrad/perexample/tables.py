"""Acts on: per-example gradients. Tables read by index, a row at a time or in bags, and sums over their examples.

An example's gradient is nonzero in the rows that it reads; what it reads twice is one entry, added up before it is
squared. Sorted by row, the entries of all examples make a new table in one pass, in which each row is written once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.batches import by_group
from regrad.perexample.convolved import Packed

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Entries:
    """What the gradients of some examples are where they are not zero, sorted by row, then by example.

    Entry u is `scale[u] * values[source[u]]`, a row [d].
    """

    values: Tensor  # [m, d]
    source: Tensor  # [u]
    scale: Tensor | None  # [u], or None for ones
    row: Tensor  # [u]
    example: Tensor  # [u]

    def ends(self, rows: int) -> Tensor:
        """Where the entries of each row of a table end [rows + 1], the first 0."""
        return torch.searchsorted(self.row, torch.arange(rows + 1, device=self.row.device))

    def table(self, function: Elementwise, weight: float, ends: Tensor, dtype: torch.dtype) -> Tensor:
        """`weight` times the sum over the examples of a function of their gradients, a new table [v, d].

        Args:
            function: multiplicative, f(s v) = f(s) f(v): it is taken of scales and values apart.
            weight: what the sum is multiplied by.
            ends: of the table's rows.
            dtype: of the table.
        """
        values, scale = self._of(function, weight, dtype)
        return functional.embedding_bag(
            self.source, values, ends, per_sample_weights=scale, mode="sum", include_last_offset=True
        )

    def add_to(self, total: Tensor, function: Elementwise, weight: float) -> None:
        """Add the same to a table, in the rows that are read alone."""
        values, scale = self._of(function, weight, total.dtype)
        total.index_add_(0, self.row, values[self.source].mul_(scale.unsqueeze(1)))

    def _of(self, function: Elementwise, weight: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        values = function(self.values.to(dtype))
        if self.scale is None:
            return values, values.new_full(self.row.shape, weight)
        return values, function(self.scale.to(dtype)) * weight

    def squares(self, count: int, dtype: torch.dtype) -> Tensor:
        """The squared norms of the `count` examples [n]."""
        squares = self.values.to(dtype).square().sum(1)[self.source]
        if self.scale is not None:
            squares = squares * self.scale.to(dtype).square()
        return squares.new_zeros(count).index_add_(0, self.example, squares)


@dataclass(frozen=True)
class Rows:
    """A table [v, d] read by index: an example's gradient is nonzero in the rows it reads only."""

    G: Tensor  # [n, T, d], gradient with respect to what was read
    tokens: Tensor  # [n, T], the rows read; entries outside 0 … v − 1 read nothing
    rows: int  # v
    together = 1

    @staticmethod
    def pack(g: Tensor, tokens: Tensor, rows: int, padding: int) -> Packed:
        """The gradient with respect to what was read [B, …, d], and the rows read [B, …]; `padding` −1 for none."""
        return "rows", [g, tokens], [rows, padding]

    @classmethod
    def unpack(cls, tensors: list[Tensor], numbers: list[int], group: int) -> "Rows":
        """The padding row's gradient is zero: who reads it reads nothing."""
        g, tokens = tensors
        rows, padding = numbers
        tokens = tokens.flatten(1) if tokens.ndim > 1 else tokens.unsqueeze(1)
        g = g.reshape(*tokens.shape, g.shape[-1])
        if padding >= 0:
            tokens = torch.where(tokens == padding, rows, tokens)
        return cls(by_group(g, group).flatten(1, 2), by_group(tokens, group).flatten(1, 2), rows)

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, v, d] of those examples."""
        G, tokens = self.G[examples], self.tokens[examples]
        block = G.new_zeros(len(G), self.rows, G.shape[-1])
        index = tokens.unsqueeze(-1).expand_as(G).clamp(0, self.rows - 1)
        read = ((tokens >= 0) & (tokens < self.rows)).unsqueeze(-1)
        return block.scatter_add_(1, index, torch.where(read, G, 0))

    @property
    def shape(self) -> tuple[int, ...]:
        """The table's [v, d]."""
        return self.rows, self.G.shape[2]

    def restrict(self, part: slice) -> "Rows":
        """What it adds to those rows of the table alone."""
        return replace(self, tokens=self.tokens - part.start, rows=part.stop - part.start)

    def along(self, v: Tensor) -> Tensor:
        """The inner products [n] of the gradients with v [v, d], whose dtype they have."""
        tokens, read = self.flat_tokens()
        products = torch.where(read, v[tokens] * self.G.flatten(0, 1).to(v.dtype), 0)
        return products.view(self.G.shape).sum((1, 2))

    def flat_tokens(self) -> tuple[Tensor, Tensor]:
        """The rows read [nT], 0 in place of those outside the table, and which are inside [nT, 1]."""
        tokens = self.tokens.flatten()
        read = (tokens >= 0) & (tokens < self.rows)
        return torch.where(read, tokens, 0), read.unsqueeze(1)

    def entries(self) -> Entries:
        """What the examples' gradients are where they are not zero."""
        order, keys, lengths = _sorted(self.tokens, self.rows)
        values, n = self.G.flatten(0, 1), len(self.G)
        if len(keys) < len(order):  # some example reads a row twice
            ends = functional.pad(lengths.cumsum(0), (1, 0))
            values = _sum_runs(values, order, ends)
            order = torch.arange(len(keys), device=keys.device)
        return Entries(values, order, None, keys // n, keys % n)

    def segments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens that one example reads twice added up: example [u], row [u] and gradient [u, d], sorted by both."""
        entries = self.entries()
        order = entries.example.argsort(stable=True)
        return entries.example[order], entries.row[order], entries.values[entries.source[order]]


@dataclass(frozen=True)
class Bags:
    """A table [v, d] of which each example adds up some rows: its gradient in row r is its factor there times G."""

    G: Tensor  # [n, d], gradient with respect to the bag
    tokens: Tensor  # [n, T], as in `Rows`
    factors: Tensor  # [n, T], what the rows read are multiplied by
    rows: int  # v
    together = 1

    @staticmethod
    def pack(g: Tensor, tokens: Tensor, factors: Tensor, *numbers: int) -> Packed:
        """The gradient of the bags [B·k, d], rows read and factors [B·k, T]; v, the padding row (−1 for none), k."""
        return "bags", [g, tokens, factors], [*numbers]

    @classmethod
    def unpack(cls, tensors: list[Tensor], numbers: list[int], group: int) -> "Bags | Rows":
        """Of examples with several bags, or groups of examples, the gradient of each row that is read."""
        g, tokens, factors = tensors
        rows, padding, own = numbers
        if padding >= 0:
            tokens = torch.where(tokens == padding, rows, tokens)
        bags = cls(g, tokens, factors, rows)
        if own * group == 1:
            return bags
        whole = bags.as_rows()
        G, tokens = (by_group(x, own * group).flatten(1, 2) for x in (whole.G, whole.tokens))
        return Rows(G, tokens, rows)

    def as_rows(self) -> Rows:
        """The same, with a gradient for each row that is read."""
        return Rows(self.G.unsqueeze(1) * self.factors.to(self.G.dtype).unsqueeze(2), self.tokens, self.rows)

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, v, d] of those examples."""
        few = Bags(self.G[examples], self.tokens[examples], self.factors[examples], self.rows)
        return few.as_rows().chunk(slice(None))

    @property
    def shape(self) -> tuple[int, ...]:
        """The table's [v, d]."""
        return self.rows, self.G.shape[1]

    def restrict(self, part: slice) -> Rows:
        """What it adds to those rows of the table alone."""
        return self.as_rows().restrict(part)

    def along(self, v: Tensor) -> Tensor:
        """The inner products [n] of the gradients with v [v, d], whose dtype they have."""
        return self.as_rows().along(v)

    def entries(self) -> Entries:
        """What the examples' gradients are where they are not zero."""
        order, keys, lengths = _sorted(self.tokens, self.rows)
        n, scale = len(self.G), self.factors.flatten()[order]
        if len(keys) < len(order):
            run = torch.arange(len(keys), device=keys.device).repeat_interleave(lengths)
            scale = scale.new_zeros(len(keys)).index_add_(0, run, scale)
        return Entries(self.G, keys % n, scale, keys // n, keys % n)


def _sorted(tokens: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Positions in `tokens` [n, T] by row, then by example: their order, and each pair once, with its number.

    A pair of row and example is `row * n + example`; what lies outside the table is left out.
    """
    n = len(tokens)
    keys = torch.where((tokens >= 0) & (tokens < rows), tokens, rows) * n
    keys, order = (keys + torch.arange(n, device=tokens.device).unsqueeze(1)).flatten().sort(stable=True)
    if len(keys) and int(keys[-1]) >= rows * n:
        read = int((keys < rows * n).sum())
        keys, order = keys[:read], order[:read]
    return order, *torch.unique_consecutive(keys, return_counts=True)


def _sum_runs(values: Tensor, order: Tensor, ends: Tensor) -> Tensor:
    """Sums of values [m, d] over runs of `order`, whose ends are [u + 1], the first 0."""
    if values.is_cuda:  # where a bag's sums are of half precision
        run = torch.arange(len(ends) - 1, device=ends.device).repeat_interleave(ends.diff())
        return values.new_zeros(len(ends) - 1, values.shape[1]).index_add_(0, run, values[order])
    return functional.embedding_bag(order, values, ends, mode="sum", include_last_offset=True)
