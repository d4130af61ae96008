"""Acts on: per-example gradients. Their inner products with a direction, and with each other.

Both are formed from the factors that the backward pass leaves. Of a linear layer g_i · v = Σ_t G_it · V A_it, and
⟨g_i, g_j⟩ = Σ_ts (G_it · G_js) (A_it · A_js), the "ghost" product, in which no gradient appears. For long sequences it
is cheaper to form the gradients of all examples for a few rows of the weight at a time, and to multiply those.

Source: Goodfellow, "Efficient per-example gradient computations" (arXiv 1510.01799), for norms at one position; Li et
    al., "Large language models can be strong differentially private learners" (arXiv 2110.05679), for sequences.
Departures: all pairs of examples; tables, and tables tied to a head; the cheaper of both ways by their operations.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regrad.perexample.batches import chunks
from regrad.perexample.contributions import Contribution, Factors, Rows, examples_of, merge, sum_of_uses

# Elements of the gradients, or of the products of positions, that exist at once.
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class dot_product:  # noqa: N801 (reads as the statistic's name at the call)
    """Each example's g_i · v [B]: how far a step along v changes its loss, to first order.

    Args:
        direction: v, parameter name -> tensor [*parameter], as "mean" is in an answer; zero for parameters that it
            does not name.
    """

    direction: Mapping[str, Tensor]

    def __post_init__(self):
        if not isinstance(self.direction, Mapping) or not self.direction:
            raise ValueError("dot_product: a mapping from parameter names to tensors is required, and not an empty one")

    def check(self, parameters: Mapping[str, Tensor]) -> None:
        """Refuse a direction that does not fit the parameters."""
        for name, v in self.direction.items():
            if name not in parameters:
                raise ValueError(f"dot_product: direction names {name!r}, which is none of the parameters asked for")
            if not isinstance(v, Tensor) or v.shape != parameters[name].shape:
                given = list(v.shape) if isinstance(v, Tensor) else type(v).__name__
                raise ValueError(f"dot_product: {name} is {list(parameters[name].shape)}, the direction's {given}")


def gram_of(uses: list[Contribution], dtype: torch.dtype) -> Tensor:
    """The inner products [n, n] of the gradients of one weight, added over its uses."""
    uses = merge(uses)
    pairs = [use for use in uses if isinstance(use, Factors | Rows)]
    if len(pairs) == len(uses) and _prefers_positions(pairs):
        return _sum_of(_by_positions(one, other, dtype) for one in pairs for other in pairs)
    shape = torch.Size(uses[0].shape)
    if not shape:
        return _square(sum_of_uses(uses, slice(None)), dtype)
    least = max(use.together for use in uses)
    rows = _AT_ONCE // max(1, examples_of(uses[0]) * shape[1:].numel())
    parts = chunks(shape[0], least * max(1, rows // least))
    blocks = (sum_of_uses([use.restrict(part) for use in uses], slice(None)) for part in parts)
    return _sum_of(_square(block, dtype) for block in blocks)


def add_gram_of_blocks(gram: Tensor, gradients: Callable[[slice], Tensor], elements: int) -> None:
    """Add to [n, n] the inner products of gradients [c, *parameter] that only a function of the examples can tell."""
    parts = list(chunks(len(gram), max(1, _AT_ONCE // max(1, elements))))
    for index, one in enumerate(parts):
        left = gradients(one).reshape(-1, elements).to(gram)
        gram[one, one] += left @ left.t()
        for other in parts[index + 1 :]:
            products = left @ gradients(other).reshape(-1, elements).to(gram).t()
            gram[one, other] += products
            gram[other, one] += products.t()


def _square(block: Tensor, dtype: torch.dtype) -> Tensor:
    flat = block.reshape(len(block), -1).to(dtype)
    return flat @ flat.t()


def _sum_of(parts: Iterable[Tensor]) -> Tensor:
    total: Tensor | None = None
    for part in parts:
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def _prefers_positions(uses: list[Factors | Rows]) -> bool:
    """Whether products of all pairs of positions take fewer multiplications than those of the gradients."""
    n, (out, width) = examples_of(uses[0]), uses[0].shape
    positions = sum(use.G.shape[1] for use in uses)
    forming = sum(use.G.shape[1] for use in uses if isinstance(use, Factors))
    return n * positions**2 * (out + width) <= (forming + n) * out * width


def _by_positions(one: Factors | Rows, other: Factors | Rows, dtype: torch.dtype) -> Tensor:
    """Σ_ts (G_it · G_js) (A_it · A_js) [n, n], the examples of `one` a few at a time."""
    n, T, S = examples_of(one), one.G.shape[1], other.G.shape[1]
    step = max(1, _AT_ONCE // max(1, n * T * S))
    parts = (_pairs(_take(one, part), other, dtype) for part in chunks(n, step))
    return torch.cat([pairs.view(-1, T, n, S).sum((1, 3)) for pairs in parts])


def _take(use: Factors | Rows, examples: slice) -> Factors | Rows:
    if isinstance(use, Factors):
        return replace(use, G=use.G[examples], A=use.A[examples])
    return replace(use, G=use.G[examples], tokens=use.tokens[examples])


def _pairs(one: Factors | Rows, other: Factors | Rows, dtype: torch.dtype) -> Tensor:
    """The inner products of what any two positions add to the gradient, [c T, n S]."""
    if isinstance(one, Rows) and isinstance(other, Factors):
        return _pairs(other, one, dtype).t()
    G, H = (use.G.flatten(0, 1).to(dtype) for use in (one, other))
    if isinstance(one, Factors):
        A = one.A.flatten(0, 1).to(dtype)
        if isinstance(other, Factors):
            return (G @ H.t()).mul_(A @ other.A.flatten(0, 1).to(dtype).t())
        # A product g aᵀ and a row r of the table meet in one row of the weight: g_r a · H.
        tokens, read = other.flat_tokens()
        return G[:, tokens].mul_(A @ torch.where(read, H, 0).t())
    assert isinstance(one, Rows)
    assert isinstance(other, Rows)
    (mine, read), (theirs, also) = one.flat_tokens(), other.flat_tokens()
    return (torch.where(read, G, 0) @ torch.where(also, H, 0).t()).mul_(mine.unsqueeze(1) == theirs)
