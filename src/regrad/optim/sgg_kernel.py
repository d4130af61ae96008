"""The kernel of `regrad.optim.sgg_triton`; importing it needs Triton."""

import triton
import triton.language as tl


@triton.jit
def scaled_adam(owner, start, ends, table, numbers, PIECE: tl.constexpr):
    """Step one piece of one tensor: what the C++ loop of `regrad.optim.sgg_compiled` does, in the same order."""
    t = tl.load(owner + tl.program_id(0))
    first, end = tl.multiple_of(tl.load(start + tl.program_id(0)), PIECE), tl.load(ends + t)
    i = first + tl.arange(0, PIECE)
    # A mask that may end anywhere would keep every load at four bytes: only a tensor's last piece has one.
    if first + PIECE <= end:
        _step(table + 6 * t, numbers + 9 * t, i, i >= 0, False)
    else:
        _step(table + 6 * t, numbers + 9 * t, i, i < end, True)


@triton.jit
def _step(row, n, i, here, MASKED: tl.constexpr):
    p, g, m, v = _floats(row) + i, _floats(row + 1) + i, _floats(row + 2) + i, _floats(row + 3) + i
    old, mean, square = _load(p, here, MASKED), _load(m, here, MASKED), _load(v, here, MASKED)
    grad = tl.load(n + 2) * _load(g, here, MASKED) + tl.load(n + 1) * old
    mean += tl.load(n + 3) * (grad - mean)
    square = tl.load(n + 4) * square + tl.load(n + 5) * grad * grad
    step = tl.load(n + 8) * (mean / (tl.sqrt(square) / tl.load(n + 6) + tl.load(n + 7)))
    place = tl.load(row + 4)
    if place != 0:  # it has a scale
        places = tl.multiple_of(place.to(tl.pointer_type(tl.uint8)), 16) + i
        step *= tl.load(_floats(row + 5) + _load(places, here, MASKED).to(tl.int32))
    _store(p, tl.load(n) * old - step, here, MASKED)
    _store(m, mean, here, MASKED)
    _store(v, square, here, MASKED)


@triton.jit
def _floats(address):
    # A load takes 16 bytes at once where it is known that it may.
    return tl.multiple_of(tl.load(address).to(tl.pointer_type(tl.float32)), 16)


@triton.jit
def _load(pointers, here, MASKED: tl.constexpr):
    if MASKED:
        return tl.load(pointers, mask=here, other=0)
    return tl.load(pointers)


@triton.jit
def _store(pointers, values, here, MASKED: tl.constexpr):
    if MASKED:
        tl.store(pointers, values, mask=here)
    else:
        tl.store(pointers, values)
