"""Acts on: per-example gradients. One CUDA kernel that forms each example's Gᵀ A in registers and folds it there.

A program owns a tile of the weight and a share of the examples. For each of its examples it accumulates the tile of
G_eᵀ A_e over the positions in float32, then adds it to the tile's sum, its square, sign and absolute value to the other
sums, and the sum of its squares to that example's norm. G and A are read as often as in an ordinary product and nothing
of size B × weights is written. Few tiles leave most of a GPU idle, so examples are then split over programs, whose
partial sums are added atomically: the order of these additions, and so the last bit, may differ from run to run.

The plain path of `folding.py` is its oracle, and what runs where Triton is not.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from regrad.perexample.requests import KINDS


@triton.jit
def _fold_kernel(
    G, A, total, squares, absolutes, signs, norms,
    n, T, out, width, share, weight,
    SUM: tl.constexpr, SQUARE: tl.constexpr, ABS: tl.constexpr, SIGN: tl.constexpr, NORM: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_row, in_column = row < out, column < width
    S = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    Q = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    N = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    C = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    first = tl.program_id(2) * share
    for example in range(first, tl.minimum(first + share, n)):
        P = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for start in range(0, T, STEP):
            position = start + tl.arange(0, STEP)
            here = position < T
            line = (example * T + position).to(tl.int64)
            g = tl.load(G + line[None, :] * out + row[:, None], mask=here[None, :] & in_row[:, None], other=0.0)
            a = tl.load(
                A + line[:, None] * width + column[None, :],
                mask=here[:, None] & in_column[None, :],
                other=0.0,
            )
            P = tl.dot(g, a, P, input_precision=PRECISION)
        if SUM:
            S += P
        if SQUARE:
            Q += P * P
        if ABS:
            N += tl.abs(P)
        if SIGN:
            C += tl.where(P > 0, 1.0, 0.0) - tl.where(P < 0, 1.0, 0.0)
        if NORM:
            tl.atomic_add(norms + example, tl.sum(tl.sum(P * P, 1), 0))
    place = row[:, None].to(tl.int64) * width + column[None, :]
    inside = in_row[:, None] & in_column[None, :]
    if SUM:
        tl.atomic_add(total + place, S * weight, mask=inside)
    if SQUARE:
        tl.atomic_add(squares + place, Q * weight, mask=inside)
    if ABS:
        tl.atomic_add(absolutes + place, N * weight, mask=inside)
    if SIGN:
        tl.atomic_add(signs + place, C * weight, mask=inside)


def fold_on_device(
    G: Tensor, A: Tensor, sums: dict[str, Tensor], *, norms: Tensor | None, weight: float, programs: int = 264
) -> None:
    """Add an example-by-example linear contribution to sums [out, width].

    Args:
        G: [n, T, out], gradient with respect to the output, contiguous; float32, bfloat16 or float16.
        A: [n, T, width], the input, contiguous, of the same dtype.
        sums: kind ("sum", "square", "abs", "sign") -> contiguous float32 tensor [out, width] to add to, weighted.
        norms: [n] float32, to which each example's squared norm is added, unweighted; or None.
        weight: what one example counts.
        programs: how many to aim for; twice the multiprocessors of the device is a good number.

    Raises:
        ValueError: for a kind, dtype or memory layout the kernel does not handle.
    """
    _check(G, A, sums)
    (n, T, out), width = G.shape, A.shape[2]
    capability = torch.cuda.get_device_capability(G.device)[0] if G.is_cuda else 9
    rows, columns = largest_tile(len(sums), G.dtype, capability)
    rows, columns = (min(size, max(16, triton.next_power_of_2(k))) for size, k in ((rows, out), (columns, width)))
    tiles = triton.cdiv(out, rows) * triton.cdiv(width, columns)
    share = triton.cdiv(n, max(1, min(n, programs // tiles)))
    grid = (triton.cdiv(out, rows), triton.cdiv(width, columns), triton.cdiv(n, share))
    absent = next(iter(sums.values())) if sums else norms
    step = min(64 if G.dtype != torch.float32 else 32, max(16, triton.next_power_of_2(T)))
    _fold_kernel[grid](
        # The kernel takes one pointer and one flag a kind, in the order of `KINDS`.
        G, A, *(sums.get(kind, absent) for kind in KINDS), absent if norms is None else norms,
        n, T, out, width, share, weight, *(kind in sums for kind in KINDS), norms is not None,
        ROWS=rows, COLUMNS=columns, STEP=step, PRECISION="ieee" if G.dtype == torch.float32 else "tf32",
        num_warps=8,
    )  # fmt: skip


def largest_tile(sums: int, dtype: torch.dtype, capability: int) -> tuple[int, int]:
    """Return rows and columns of the largest tile whose product and sums stay in registers, none of it spilled.

    From Hopper on (``capability`` 9) tensor cores read their operands from shared memory; before, and in exact float32,
    operands take registers too. A test compiles each case and reads what it takes.
    """
    lean = capability >= 9 and dtype != torch.float32
    if sums <= 2:
        return (128, 128) if lean else (128, 64)
    return (128, 64) if lean else (64, 64)


def _check(G: Tensor, A: Tensor, sums: dict[str, Tensor]) -> None:
    if not set(sums) <= set(KINDS):
        raise ValueError(f"sums: {sorted(set(sums) - set(KINDS))} is none of {', '.join(KINDS)}")
    if G.dtype != A.dtype or G.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtypes {G.dtype}, {A.dtype}: both float32, both bfloat16 or both float16 are handled")
    if any(total.dtype != torch.float32 or not total.is_contiguous() for total in sums.values()):
        raise ValueError("sums: contiguous float32 tensors are required")
    if not (G.is_contiguous() and A.is_contiguous()):
        raise ValueError("G and A: contiguous tensors are required")
