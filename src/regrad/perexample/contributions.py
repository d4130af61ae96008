"""Acts on: per-example gradients. What one use of a weight leaves behind in the backward pass: factors, not products.

Each contribution knows the gradient [*weight] of a single example and of a chunk of them, from factors that
are no larger than activations. The example axis is first in every factor; with groups of k examples, [k·T]
positions of one group stand where the T positions of one example would.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

# Grouped convolutions of few channels are slow: with so few inputs to an output, products of patches are faster.
_NARROW = 32
# Examples that one call takes, and elements of their gradients: more slow a grouped convolution down, and so do fewer.
_EXAMPLES, _GRADIENTS = 32, 5 << 17
# Elements of the patches that one call may hold.
_PATCHES = 1 << 20


@dataclass(frozen=True)
class Factors:
    """A weight [o, i] used as y = x Wᵀ: example e has gradient G_eᵀ A_e.

    Attributes:
        G: [n, T, o], gradient with respect to y.
        A: [n, T, i], the layer's input.
    """

    G: Tensor
    A: Tensor

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, o, i] of those examples."""
        return torch.bmm(self.G[examples].transpose(1, 2), self.A[examples])


@dataclass(frozen=True)
class Rows:
    """A table [v, d] read by index: an example's gradient is nonzero in the rows it reads only.

    Attributes:
        G: [n, T, d], gradient with respect to what was read.
        tokens: [n, T], the rows read; entries outside 0 … v − 1 read nothing.
        rows: v.
    """

    G: Tensor
    tokens: Tensor
    rows: int

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, v, d] of those examples."""
        G, tokens = self.G[examples], self.tokens[examples]
        block = G.new_zeros(len(G), self.rows, G.shape[-1])
        index = tokens.unsqueeze(-1).expand_as(G).clamp(0, self.rows - 1)
        read = ((tokens >= 0) & (tokens < self.rows)).unsqueeze(-1)
        return block.scatter_add_(1, index, torch.where(read, G, 0))

    def segments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens that one example reads twice added up: example [u], row [u] and gradient [u, d], sorted by both."""
        n, T = self.tokens.shape
        example = torch.arange(n, device=self.tokens.device).unsqueeze(1).expand(n, T)
        read = (self.tokens >= 0) & (self.tokens < self.rows)
        keys, inverse = torch.unique((example * self.rows + self.tokens)[read], return_inverse=True)
        flat = self.G[read] if not bool(read.all()) else self.G.reshape(n * T, -1)
        total = flat.new_zeros(len(keys), self.G.shape[-1]).index_add_(0, inverse, flat)
        return torch.div(keys, self.rows, rounding_mode="floor"), keys % self.rows, total


@dataclass(frozen=True)
class Dense:
    """Per-example gradients that are no larger than the activations: biases, scales, positions.

    Attributes:
        block: [n, *weight].
    """

    block: Tensor

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, *weight] of those examples."""
        return self.block[examples]


@dataclass(frozen=True)
class Convolved:
    """A convolution's weight [o, i / groups, *kernel].

    Attributes:
        G: [n, k, o, *out], gradient with respect to the output.
        A: [n, k, i, *in], the input.
        shape: the weight's.
        stride: one number for each spatial axis.
        padding: likewise.
        dilation: likewise.
        groups: of the convolution.
    """

    G: Tensor
    A: Tensor
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def chunk(self, examples: slice) -> Tensor:
        """The gradients [c, *weight] of those examples, as a rule in one call: examples become groups."""
        if prod(self.shape[1:]) > _NARROW:
            return self._call(examples)
        if self.groups == 1:
            return self._by_patches(examples)
        singly = [self._call(slice(e, e + 1)) for e in range(len(self.G))[examples]]
        return singly[0] if len(singly) == 1 else torch.cat(singly)

    def at_once(self) -> int:
        """How many examples `chunk` is fastest with."""
        inputs = prod(self.shape[1:])
        patches = inputs * prod((self.G.shape[1], *self.G.shape[3:]))
        room = _GRADIENTS // max(1, prod(self.shape)) if inputs > _NARROW else _PATCHES // max(1, patches)
        return max(1, min(_EXAMPLES, room))

    def _call(self, examples: slice) -> Tensor:
        G, A = (x[examples].transpose(0, 1).flatten(1, 2) for x in (self.G, self.A))
        c = len(self.G[examples])
        weight = A.new_empty(c * self.shape[0], *self.shape[1:])  # never read; an expanded one would be copied
        none = [0] * len(self.stride)
        arguments = (None, self.stride, self.padding, self.dilation, False, none, self.groups * c, (False, True, False))
        gradient = torch.ops.aten.convolution_backward.default(G, A, weight, *arguments)[1]
        return gradient.unflatten(0, (c, self.shape[0]))

    def _by_patches(self, examples: slice) -> Tensor:
        """A product for each example (or group), of the output's gradient and the patches of input that met it."""
        G, A = self.G[examples].transpose(1, 2), self.A[examples].transpose(1, 2)
        kernel, out = self.shape[2:], G.shape[3:]
        A = functional.pad(A, [side for p in reversed(self.padding) for side in (p, p)]).contiguous()
        outer, inner = A.stride()[:3], A.stride()[3:]
        taps = [s * d for s, d in zip(inner, self.dilation, strict=True)]
        steps = [s * d for s, d in zip(inner, self.stride, strict=True)]
        n, i, k = A.shape[:3]
        # [n, i, *kernel, k, *out]
        patches = A.as_strided((n, i, *kernel, k, *out), (*outer[:2], *taps, outer[2], *steps))
        patches = patches.reshape(n, i * prod(kernel), k * prod(out))
        return torch.bmm(G.reshape(n, self.shape[0], -1), patches.transpose(1, 2)).view(n, *self.shape)


Contribution = Factors | Rows | Dense | Convolved


def examples_of(contribution: Contribution) -> int:
    """How many examples (or groups) the contribution holds."""
    return len(contribution.block if isinstance(contribution, Dense) else contribution.G)


def merge(contributions: list[Contribution]) -> list[Contribution]:
    """Uses of one weight in one layer called several times become one use at more positions."""
    factors = [c for c in contributions if isinstance(c, Factors)]
    if len(factors) < 2:
        return contributions
    joined = Factors(torch.cat([c.G for c in factors], 1), torch.cat([c.A for c in factors], 1))
    return [joined, *(c for c in contributions if not isinstance(c, Factors))]
