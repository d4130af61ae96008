"""Acts on: per-example gradients. Folds contributions into sums, a block that fits the cache at a time."""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from regrad.perexample.contributions import Contribution, Convolved, Factors, Rows, examples_of
from regrad.perexample.sums import FUNCTIONS, Sums, accumulator_dtype

# Elements of one product block. Measured on layers of 64 K to 256 K weights: smaller blocks, which with their sums
# would fit a core's second-level cache, lose more in the product than they gain in the fold.
BLOCK = 1 << 18
# Elements of the chunk of per-example gradients that a layer without a cheaper way may hold.
CHUNK = 1 << 20

View = Callable[[Tensor], Tensor]
Segments = tuple[Tensor, Tensor, Tensor]


class Folder:
    """Adds contributions for (a view of) one parameter to its sums.

    Args:
        sums: where to add.
        name: of the parameter.
        first: index of the first example of the contributions in the whole batch.
        view: what the forward pass did to the parameter to get the weight; injective, so that any elementwise
            function commutes with it. None for nothing.
    """

    def __init__(self, sums: Sums, name: str, first: int, *, view: View | None = None):
        self.sums, self.name, self.first, self.view = sums, name, first, view
        self.request, self.weight = sums.request, sums.weight
        self.dtype = accumulator_dtype(sums.like[name])

    def of(self, kind: str) -> Tensor:
        """The running average, seen as the forward pass saw the parameter."""
        total = self.sums.of(kind, self.name)
        return total if self.view is None else self.view(total)

    def fold(self, contribution: Contribution) -> None:
        """Add one contribution that is the only one this parameter has."""
        if isinstance(contribution, Factors):
            self.fold_factors(contribution)
        elif isinstance(contribution, Rows) and not self.request.functions:
            self._fold_rows(contribution)
        else:
            # More than 16 at once slow a grouped convolution down.
            most = 16 if isinstance(contribution, Convolved) else CHUNK
            self.fold_chunks(examples_of(contribution), contribution.chunk, most=most)

    def fold_chunks(self, n: int, chunk: Callable[[slice], Tensor], *, most: int = 16) -> None:
        """Add blocks of a few examples each, for layers without a cheaper way."""
        weight = self.sums.like[self.name]
        elements = (weight if self.view is None else self.view(weight)).numel()
        size = max(1, min(most, CHUNK // max(1, elements)))
        for start in range(0, n, size):
            self._fold_block(chunk(slice(start, min(n, start + size))), start)

    def _fold_block(self, block: Tensor, start: int) -> None:
        for kind in self.request.kinds:
            total = self.of(kind)
            value = FUNCTIONS[kind](block.to(total.dtype)) if kind in FUNCTIONS else block
            total.add_(value.sum(0), alpha=self.weight)
        for key, function in self.request.functions.items():
            self.of(key).add_(function(block.to(self.dtype)).sum(0), alpha=self.weight)
        if self.request.norms:
            flat = block.reshape(len(block), -1).to(self.sums.squared_norms.dtype)
            self._add_norms(torch.linalg.vector_norm(flat, dim=1).square_(), start)

    def _add_norms(self, squares: Tensor, start: int = 0) -> None:
        part = slice(self.first + start, self.first + start + len(squares))
        self.sums.squared_norms[part] += squares.to(self.sums.squared_norms.dtype)

    def fold_factors(self, factors: Factors, rows: Rows | None = None) -> None:
        """Add a linear layer's contribution, and with it that of a table tied to the same weight."""
        simple = rows is None and not self.request.functions
        if simple and factors.G.shape[1] == 1:
            self._fold_rank_one(factors.G.squeeze(1), factors.A.squeeze(1))
        elif simple and self.request.kinds in ((), ("sum",)) and not self.request.norms:
            self._add_product("sum", factors.G.flatten(0, 1), factors.A.flatten(0, 1))
        elif simple and factors.G.is_cuda:
            self._fold_on_device(factors)
        else:
            self._fold_products(factors, rows)

    def _fold_on_device(self, factors: Factors) -> None:
        """One kernel for all examples, or failing that a few products at a time: not a call for each example."""
        G, A = factors.G.contiguous(), factors.A.to(factors.G.dtype).contiguous()
        if self.view is not None or G.dtype == torch.float64 or importlib.util.find_spec("triton") is None:
            self.fold_chunks(len(G), factors.chunk, most=CHUNK)
            return
        from regrad.perexample.triton_linear import fold_on_device

        sums = {kind: self.of(kind) for kind in self.request.kinds}
        norms = torch.zeros(len(G), device=G.device) if self.request.norms else None
        fold_on_device(G, A, sums, norms=norms, weight=self.weight)
        if norms is not None:
            self._add_norms(norms)

    def _add_product(self, kind: str, G: Tensor, A: Tensor) -> None:
        """Add Gᵀ A over all positions, straight into the sum if that is empty."""
        beta = 0 if self.view is None and self.sums.claim(kind, self.name) else 1
        total = self.of(kind)
        total.addmm_(G.t().to(total.dtype), A.to(total.dtype), alpha=self.weight, beta=beta)

    def _fold_rank_one(self, G: Tensor, A: Tensor) -> None:
        """With one position the gradient is g aᵀ, and powers, absolute values and signs factor over it."""
        for kind in self.request.kinds:
            function = FUNCTIONS.get(kind)
            self._add_product(kind, *((G, A) if function is None else (function(G.to(self.dtype)), function(A))))
        if self.request.norms:
            self._add_norms(G.to(self.dtype).square().sum(1) * A.to(self.dtype).square().sum(1))

    def _fold_products(self, factors: Factors, rows: Rows | None) -> None:
        G, A = factors.G, factors.A.to(factors.G.dtype)
        n, out, width = len(G), G.shape[2], A.shape[2]
        step = max(1, min(out, BLOCK // max(1, width)))
        segments = None if rows is None else rows.segments()
        inputs = A.unbind(0)
        for start in range(0, out, step):
            part = slice(start, min(out, start + step))
            product = G.new_empty(part.stop - part.start, width)
            steps, squares = self._steps(part, product, n)
            extra = None if segments is None else _rows_of_block(segments, part, n)
            for example, g in enumerate(G[:, :, part].transpose(1, 2).unbind(0)):
                torch.mm(g, inputs[example], out=product)
                if extra is not None and len(extra[example][0]):
                    product.index_add_(0, *extra[example])
                for fold in steps:
                    fold(example)
            if squares is not None:
                self._add_norms(squares)

    def _steps(self, part: slice, product: Tensor, n: int) -> tuple[list[Callable[[int], object]], Tensor | None]:
        """How one example's product is folded; the last step may overwrite it."""
        steps: list[Callable[[int], object]] = []
        kinds, weight, squares = self.request.kinds, self.weight, None
        totals = {kind: self.of(kind)[part] for kind in (*kinds, *self.request.functions)}
        if "sum" in kinds:
            steps.append(lambda _: totals["sum"].add_(product, alpha=weight))
        if "square" in kinds:
            steps.append(lambda _: totals["square"].addcmul_(product, product, value=weight))
        if self.request.norms:
            squares, flat = torch.empty(n, dtype=self.dtype, device=product.device), product.view(-1)
            slots = squares.unbind(0)
            if product.dtype == self.dtype:
                steps.append(lambda example: torch.dot(flat, flat, out=slots[example]))
            else:
                steps.append(lambda example: slots[example].copy_(flat.to(self.dtype).square().sum()))
        for key, function in self.request.functions.items():
            steps.append(_averaging(function, product, totals[key], weight=weight))
        if "abs" in kinds:
            steps.append(lambda _: totals["abs"].add_(product.abs(), alpha=weight))
        if "sign" in kinds:
            steps.append(lambda _: totals["sign"].add_(product.sign_(), alpha=weight))
        return steps, squares

    def _fold_rows(self, contribution: Rows) -> None:
        example, row, gradient = contribution.segments()
        for kind in self.request.kinds:
            total = self.of(kind)
            value = gradient.to(total.dtype)
            total.index_add_(0, row, FUNCTIONS[kind](value) if kind in FUNCTIONS else value, alpha=self.weight)
        if self.request.norms:
            squares = gradient.to(self.dtype).square().sum(1)
            self._add_norms(squares.new_zeros(len(contribution.G)).index_add_(0, example, squares))


def _averaging(
    function: Callable[[Tensor], Tensor], product: Tensor, total: Tensor, *, weight: float
) -> Callable[[int], object]:
    return lambda _: total.add_(function(product.to(total.dtype)), alpha=weight)


def _rows_of_block(segments: Segments, part: slice, n: int) -> list[tuple[Tensor, Tensor]]:
    """For each example, the rows inside the block it reads and their gradients."""
    example, row, gradient = segments
    inside = (row >= part.start) & (row < part.stop)
    sizes = torch.bincount(example[inside], minlength=n).tolist()
    return list(zip((row[inside] - part.start).split(sizes), gradient[inside].split(sizes), strict=True))
