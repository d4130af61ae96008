"""Acts on: per-example gradients. A convolution's contribution, and three ways to its per-example gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.batches import by_group

# Grouped convolutions of few channels are slow: with so few inputs to an output, products of patches are faster.
_NARROW = 32
# Examples that one call takes, and elements of their gradients: more slow a grouped convolution down, and so do fewer.
_EXAMPLES, _GRADIENTS = 32, 5 << 17
# Elements of the patches that one call may hold.
_PATCHES = 1 << 20

# Stride, padding and dilation, one number for each spatial axis, groups, and rows of the first axis to an example.
Geometry = tuple[Sequence[int], Sequence[int], Sequence[int], int, int]
# What an operator's schema can carry of a contribution: its form, tensors and numbers.
Packed = tuple[str, list[Tensor], list[int]]


@dataclass(frozen=True)
class Convolved:
    """A convolution's weight [o, i / groups, *kernel]."""

    G: Tensor  # [n, k, o, *out], gradient with respect to the output
    A: Tensor  # [n, k, i, *in], the input
    shape: tuple[int, ...]  # the weight's
    stride: tuple[int, ...]  # one number for each spatial axis
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int  # of the convolution

    @staticmethod
    def pack(g: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry) -> Packed:
        """The gradient with respect to the output [B·rows, o, *out], the input, and the weight's shape."""
        stride, padding, dilation, groups, rows = geometry
        return "convolution", [g, x], [*shape, *stride, *padding, *dilation, groups, rows]

    @classmethod
    def unpack(cls, tensors: list[Tensor], numbers: list[int], group: int) -> "Convolved":
        """The examples of a group stay apart: the products add them."""
        G, A = (by_group(x, group * numbers[-1]) for x in tensors)
        axes = G.ndim - 3
        shape, rest = tuple(numbers[: axes + 2]), numbers[axes + 2 :]
        stride, padding, dilation = (tuple(rest[start : start + axes]) for start in (0, axes, 2 * axes))
        return cls(G, A, shape, stride, padding, dilation, groups=rest[-2])

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

    @property
    def together(self) -> int:
        """How many rows of the weight `restrict` cannot part: those of a group of channels."""
        return 1 if self.groups == 1 else self.shape[0] // self.groups

    def restrict(self, part: slice) -> "Convolved":
        """What it adds to those rows of the weight alone."""
        G, shape = self.G[:, :, part], (part.stop - part.start, *self.shape[1:])
        if self.groups == 1:
            return replace(self, G=G, shape=shape)
        first, last = part.start // self.together, part.stop // self.together
        A = self.A[:, :, first * self.shape[1] : last * self.shape[1]]
        return replace(self, G=G, A=A, shape=shape, groups=last - first)

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
