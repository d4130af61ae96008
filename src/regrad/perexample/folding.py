"""Acts on: per-example gradients. Folds contributions into sums, a block that fits the cache at a time."""

import importlib.util
from collections.abc import Callable
from functools import partial
from math import prod

import torch
from torch import Tensor

from regrad.perexample.contributions import Bags, Contribution, Convolved, Dense, Factors, Rows, examples_of
from regrad.perexample.kernel_misses import note_miss
from regrad.perexample.products import prefers_onednn, product
from regrad.perexample.requests import KINDS
from regrad.perexample.sums import Sums

# Elements of one product block. Measured on layers of 64 K to 256 K weights: smaller blocks, which with their sums
# would fit a core's second-level cache, lose more in the product than they gain in the fold.
BLOCK = 1 << 18
# Elements of the chunk of per-example gradients that a layer without a cheaper way may hold.
CHUNK = 1 << 20

View = Callable[[Tensor], Tensor]
Segments = tuple[Tensor, Tensor, Tensor]
# One example's block of the product and the example's index.
Fold = Callable[[Tensor, int], object]


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
        self.dtype = sums.dtype(name)
        # Of each direction what belongs to the weight as it was used, and where products with it are added [rows].
        pairs = sums.directions.get(name, ())
        self.directions = [(v if view is None else view(v), total) for v, total in pairs]

    def average(self, kind: str) -> Tensor:
        """The running average, seen as the forward pass saw the parameter; writing there writes to the sums."""
        total = self.sums.average(kind, self.name)
        return total if self.view is None else self.view(total)

    def fold(self, contribution: Contribution) -> None:
        """Add one contribution that is the only one this parameter has."""
        if isinstance(contribution, Factors):
            self.fold_factors(contribution)
        elif isinstance(contribution, Rows | Bags) and not self.request.functions:
            self._fold_rows(contribution)
        else:
            most = contribution.at_once() if isinstance(contribution, Convolved) else CHUNK
            own = not isinstance(contribution, Dense)
            self.fold_chunks(examples_of(contribution), contribution.chunk, most=most, own=own)

    def fold_chunks(self, n: int, chunk: Callable[[slice], Tensor], *, most: int = 16, own: bool = False) -> None:
        """Add blocks of a few examples each, for layers without a cheaper way; `own` ones may be overwritten."""
        weight = self.sums.parameters[self.name]
        elements = (weight if self.view is None else self.view(weight)).numel()
        size = max(1, min(most, CHUNK // max(1, elements)))
        for start in range(0, n, size):
            self._fold_block(chunk(slice(start, min(n, start + size))), start, own=own)

    def _fold_block(self, block: Tensor, start: int, *, own: bool) -> None:
        """Add a block [c, *weight]; a block of the folder's own is overwritten by its squares."""
        for key, function in self.request.functions.items():
            self._add(key, function(block.to(self.dtype)))
        if self.request.needs_norms:
            flat = block.reshape(len(block), -1).to(self.sums.squared_norms.dtype)
            self._add_norms(torch.linalg.vector_norm(flat, dim=1).square_(), start)
        if self.directions:
            self._add_dots(lambda v: block.reshape(len(block), -1).to(self.dtype) @ v.reshape(-1), start)
        # The squares last: where the block is the folder's own they are formed in its place.
        for kind in sorted(self.request.kinds, key="square".__eq__):
            function = torch.square_ if own and kind == "square" else KINDS[kind]
            self._add(kind, function(block.to(self.dtype)))

    def _add(self, kind: str, values: Tensor) -> None:
        """Add the sum over the examples of values [c, *weight]."""
        if self.view is not None:
            self.average(kind).add_(values.sum(0), alpha=self.weight)
            return
        # As a product with a vector of ones: one pass over the values, which writes where the average is.
        fresh = self.sums.claim(kind, self.name)
        total, values = self.sums.average(kind, self.name).view(-1), values.to(self.dtype)
        rows, ones = values.reshape(len(values), -1), values.new_ones(len(values))
        total.addmv_(rows.t(), ones, alpha=self.weight, beta=0 if fresh else 1)

    def _add_norms(self, squares: Tensor, start: int = 0) -> None:
        self.sums.add_squares(self.name, squares, self.first + start)

    def _add_dots(self, along: Callable[[Tensor], Tensor], start: int = 0) -> None:
        """Add the inner products [c] with each direction."""
        for v, total in self.directions:
            _add_rows(total, along(v), self.first + start)

    def fold_factors(self, factors: Factors, rows: Rows | None = None) -> None:
        """Add a linear layer's contribution, and with it that of a table tied to the same weight."""
        # A function of a sum is no sum, and one that is not multiplicative no product: both need each example's block.
        simple = rows is None and not self.request.functions
        if simple and factors.G.shape[1] == 1:
            self._fold_rank_one(factors.G.squeeze(1), factors.A.squeeze(1))
        elif simple and self.request.kinds in ((), ("sum",)) and not self.request.needs_norms:
            if self.request.kinds:
                self._add_product("sum", factors.G.flatten(0, 1), factors.A.flatten(0, 1))
            self._add_dots(factors.along)
        elif rows is None and factors.G.is_cuda:  # where a call for each example would cost more than its product
            self._fold_on_device(factors)
        else:
            if factors.G.is_cuda:
                note_miss("a table that is the head too")
            self._fold_products(factors, rows)

    def _fold_on_device(self, factors: Factors) -> None:
        """One kernel for all examples, or failing that a few products at a time: not a call for each example."""
        G, A = factors.G.contiguous(), factors.A.to(factors.G.dtype).contiguous()
        if why := self._why_no_kernel(G):
            note_miss(why)
            self.fold_chunks(len(G), factors.chunk, most=CHUNK)
            return
        from regrad.perexample.triton_linear import fold_on_device

        sums = {kind: self.average(kind) for kind in self.request.kinds}
        norms = torch.zeros(len(G), device=G.device) if self.request.needs_norms else None
        fold_on_device(G, A, sums, norms=norms, weight=self.weight)
        if norms is not None:
            self._add_norms(norms)
        self._add_dots(factors.along)

    def _why_no_kernel(self, G: Tensor) -> str:
        if self.request.functions:
            return "a function of the caller's"
        if self.view is not None:
            return "a weight that another module shows a part of"
        if torch.float64 in (G.dtype, self.dtype):  # sums are, where a variance would be lost in rounding
            return "float64"
        return "" if importlib.util.find_spec("triton") else "triton is not installed"

    def _add_product(self, kind: str, G: Tensor, A: Tensor) -> None:
        """Add Gᵀ A over all positions; if the sum is empty, the product is the sum."""
        dtype = self.dtype
        left, right = G.t().to(dtype), A.to(dtype)
        fresh = self.view is None and self.sums.is_empty(kind, self.name)
        # oneDNN makes a new tensor: as the sum itself it saves a pass, added to one it would cost one.
        if prefers_onednn(left, right) and fresh:
            self.sums.put(kind, self.name, product(left * self.weight, right))
        else:
            beta = 0 if fresh and self.sums.claim(kind, self.name) else 1
            self.average(kind).addmm_(left, right, alpha=self.weight, beta=beta)

    def _fold_rank_one(self, G: Tensor, A: Tensor) -> None:
        """With one position the gradient is g aᵀ, and powers, absolute values and signs factor over it."""
        for kind in self.request.kinds:
            function = KINDS[kind]
            self._add_product(kind, function(G.to(self.dtype)), function(A.to(self.dtype)))
        if self.request.needs_norms:
            self._add_norms(G.to(self.dtype).square().sum(1) * A.to(self.dtype).square().sum(1))
        if self.directions:
            self._add_dots(Factors(G.unsqueeze(1), A.unsqueeze(1)).along)

    def _fold_products(self, factors: Factors, rows: Rows | None) -> None:
        G, A = factors.G, factors.A.to(factors.G.dtype)
        n, out, width = len(G), G.shape[2], A.shape[2]
        # Rows of the product, not examples: all of a block's sums then stay in the cache while the examples pass.
        step = max(1, min(out, BLOCK // max(1, width)))
        segments = None if rows is None else rows.segments()
        inputs = A.unbind(0)
        for start in range(0, out, step):
            part = slice(start, min(out, start + step))
            steps, squares = self._steps(part, n, G)
            products = [torch.empty(n, dtype=self.dtype, device=G.device) for _ in self.directions]
            # First: what makes signs of the block comes last.
            steps = [*map(partial(_along, part), self.directions, products), *steps]
            extra = None if segments is None else _rows_of_block(segments, part, n)
            buffer = G.new_empty(part.stop - part.start, width)  # for all examples: not one made and freed for each
            for example, g in enumerate(G[:, :, part].transpose(1, 2).unbind(0)):
                block = product(g, inputs[example], buffer)
                if extra is not None and len(extra[example][0]):
                    # Under autocast the product is in half precision, what was read from the table is not.
                    block = block.to(extra[example][1].dtype).index_add_(0, *extra[example])
                for fold in steps:
                    fold(block, example)
            if squares is not None:
                self._add_norms(squares)
            for (_, total), values in zip(self.directions, products, strict=True):
                _add_rows(total, values, self.first)

    def _steps(self, part: slice, n: int, like: Tensor) -> tuple[list[Fold], Tensor | None]:
        """How one example's block [rows of `part`, i] is folded, step by step, and where its squared norms [n] go."""
        # Chosen once a block of rows, not once an example: the loop over the examples then asks nothing. Each kind has
        # a call of its own that adds without a temporary; `KINDS` says what it computes.
        steps: list[Fold] = []
        kinds, weight, squares = self.request.kinds, self.weight, None
        totals = {kind: self.average(kind)[part] for kind in (*kinds, *self.request.functions)}
        if "sum" in kinds:
            steps.append(lambda block, _: totals["sum"].add_(block, alpha=weight))
        if "square" in kinds:
            steps.append(lambda block, _: totals["square"].addcmul_(block, block, value=weight))
        if self.request.needs_norms:
            squares = torch.empty(n, dtype=self.dtype, device=like.device)
            # Views made beforehand: `dot` writes where the norm belongs, without one indexing for each example.
            slots = squares.unbind(0)
            if like.dtype == self.dtype:
                steps.append(lambda block, e: torch.dot(block.view(-1), block.view(-1), out=slots[e]))
            else:
                steps.append(lambda block, e: slots[e].copy_(block.to(self.dtype).square().sum()))
        for key, function in self.request.functions.items():
            steps.append(_averaging(function, totals[key], weight=weight))
        if "abs" in kinds:
            steps.append(lambda block, _: totals["abs"].add_(block.abs(), alpha=weight))
        if "sign" in kinds:
            # The last step: the block is not needed after it, and its signs take its place.
            steps.append(lambda block, _: totals["sign"].add_(block.sign_(), alpha=weight))
        return steps, squares

    def _fold_rows(self, contribution: Rows | Bags) -> None:
        entries, ends = contribution.entries(), None
        for kind in self.request.kinds:
            if self.view is None and not contribution.G.is_cuda and self.sums.is_empty(kind, self.name):
                ends = entries.ends(contribution.rows) if ends is None else ends
                self.sums.put(kind, self.name, entries.table(KINDS[kind], self.weight, ends, self.dtype))
            else:
                entries.add_to(self.average(kind), KINDS[kind], self.weight)
        if self.request.needs_norms:
            self._add_norms(entries.squares(len(contribution.G), self.dtype))
        self._add_dots(contribution.along)


def fold_joined(sums: Sums, blocks: list[tuple[str, Tensor]], first: int) -> None:
    """Add per-example gradients [n, *parameter] of several small parameters, seen as those of one."""
    n, sizes = len(blocks[0][1]), [prod(block.shape[1:]) for _, block in blocks]
    joined = torch.cat([block.reshape(n, size) for (_, block), size in zip(blocks, sizes, strict=True)], 1)
    joined = joined.to(sums.dtype(blocks[0][0]))
    if sums.request.needs_norms:
        # One call for all of them, unless each one's own part is asked for.
        parts = zip(blocks, joined.split(sizes, 1), strict=True) if sums.squares else [(blocks[0], joined)]
        for (name, _), part in parts:
            sums.add_squares(name, torch.linalg.vector_norm(part, dim=1).square_(), first)
    for (name, _), part in zip(blocks, joined.split(sizes, 1), strict=True) if sums.directions else ():
        for v, total in sums.directions.get(name, ()):
            _add_rows(total, part @ v.reshape(-1), first)
    weights = joined.new_full((n,), sums.weight)
    for kind in sums.request.kinds:
        total = KINDS[kind](joined).t() @ weights
        for (name, block), part in zip(blocks, total.split(sizes), strict=True):
            average = part.view(block.shape[1:])
            if sums.is_empty(kind, name):
                sums.put(kind, name, average.clone())
            else:
                sums.average(kind, name).add_(average)


def _add_rows(total: Tensor, values: Tensor, first: int) -> None:
    total[first : first + len(values)] += values.to(total.dtype)


def _along(part: slice, direction: tuple[Tensor, Tensor], products: Tensor) -> Fold:
    """A step that puts each block's inner product with those rows of a direction into `products` [n]."""
    v, slots = direction[0][part].reshape(-1), products.unbind(0)
    return lambda block, e: torch.dot(block.reshape(-1).to(v.dtype), v, out=slots[e])


def _averaging(function: Callable[[Tensor], Tensor], total: Tensor, *, weight: float) -> Fold:
    return lambda block, _: total.add_(function(block.to(total.dtype)), alpha=weight)


def _rows_of_block(segments: Segments, part: slice, n: int) -> list[tuple[Tensor, Tensor]]:
    """For each example, the rows inside the block it reads and their gradients."""
    example, row, gradient = segments
    inside = (row >= part.start) & (row < part.stop)
    sizes = torch.bincount(example[inside], minlength=n).tolist()
    return list(zip((row[inside] - part.start).split(sizes), gradient[inside].split(sizes), strict=True))
