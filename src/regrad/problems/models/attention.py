"""Causal attention with rotary positions, and its derivative written out: fewer passes over the scores than autograd's.

With R the rotation of coordinate pairs (i, i + size/2) by the angles of a position, d = size^-1/2 and the scores of
later positions -∞,

    P = softmax(d R(Q) R(K)ᵀ),   Y = P V;
    dV = Pᵀ dY,   dS = P * (dP - rowsum(dP * P)) with dP = dY Vᵀ,   dR(Q) = d dS R(K),   dR(K) = d dSᵀ R(Q),

and Rᵀ is the rotation back. Scores [B, heads, T, T] are by far the largest tensors; here softmax, mask and dS work in
place, heads are brought side by side while rotating, and ``rows`` positions at a time need no later key at all:
with fewer rows than T the products and the softmax shrink by up to a half. With all rows at once every float32 number
is that of `causal_attention` and `rotate` under autograd, to the bit.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, softmax

ROWS = 32  # of scores at a time: the fastest of 16, 32, 64 and 128 for 64 to 256 positions and heads of 4 to 32
LONGEST = 256  # positions from which on torch's fused kernel, which keeps no scores, is the better one


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate coordinate pairs (i, i + size/2) of `x` [..., T, size] by the angles of their position."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention to this and earlier positions; all arguments and the result [..., T, size]."""
    length, size = query.shape[-2:]
    scores = (query * size**-0.5) @ key.transpose(-1, -2)
    return softmax(scores.masked_fill(_future(length, query), -torch.inf), dim=-1) @ value


def rotary_attention(
    query: Tensor, key: Tensor, value: Tensor, *, angles: tuple[Tensor, Tensor], fused: bool = False
) -> Tensor:
    """Causal attention after rotating queries and keys.

    Args:
        query: [B, T, heads, size], like the others and the result.
        key: Before rotation, like the query.
        value: Not rotated.
        angles: Cosines and sines [T, size] of the rotary angles.
        fused: By fused kernels: on a CPU a few rows at a time up to `LONGEST` positions, otherwise torch's own.
    """
    length = query.shape[1]
    if _written_out(query) and (length <= LONGEST or not fused):
        shape = (min(ROWS, length) if fused else length, len(query) == 1)
        return _Attention.apply(*angles, shape, query, key, value)[0]
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    query, key = rotate(query, *angles), rotate(key, *angles)
    if fused:
        return scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)
    return causal_attention(query, key, value).transpose(1, 2)


def _written_out(x: Tensor) -> bool:
    """Whether the arithmetic is that of the forward pass as written: no autocast, and no compiler that fuses it."""
    cpu = x.device.type == "cpu"
    return cpu and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def _future(length: int, like: Tensor) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=like.device).triu(1)


def _turn(x: Tensor, angles: tuple[Tensor, Tensor], *, into: Tensor) -> Tensor:
    """`rotate` without its copies."""
    cos, sin = angles
    half = x.shape[-1] // 2
    torch.mul(x, cos, out=into)
    into[..., :half] -= x[..., half:] * sin[..., :half]
    into[..., half:] += x[..., :half] * sin[..., half:]
    return into


def _turn_back(g: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = angles
    half = g.shape[-1] // 2
    back = torch.mul(g, cos, out=g.new_empty(g.shape))
    back[..., :half] += g[..., half:] * sin[..., half:]
    back[..., half:] -= g[..., :half] * sin[..., :half]
    return back


def _join(info: Any, dims: tuple[int | None, ...], args: tuple[Any, ...], *, shared: int) -> list[Any]:
    """Arguments after the shared ones with vmap's axis made part of their first."""
    joined = (
        x.unsqueeze(0).expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip(args[shared:], dims[shared:], strict=True)
    )
    return [*args[:shared], *(x.flatten(0, 1) for x in joined)]


def _part(info: Any, outputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    return tuple(x.unflatten(0, (info.batch_size, -1)) for x in outputs), (0,) * len(outputs)


class _Attention(torch.autograd.Function):
    """Y [B, T, heads, size] and what the derivative needs: R(Q) d, R(K)ᵀ, V and P, with [B · heads] in front."""

    @staticmethod
    def forward(
        cos: Tensor, sin: Tensor, shape: tuple[int, bool], query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, ...]:
        rows, alone = shape
        batch, length, heads, size = query.shape
        q = _turn(query.transpose(1, 2), (cos, sin), into=query.new_empty(batch, heads, length, size)).flatten(0, 1)
        q *= size**-0.5
        # As matmul lays them out: R(K)ᵀ is copied, but of a single example, seen through a view, it is not.
        k = key.new_empty(batch, heads, length, size) if alone else key.new_empty(batch, heads, size, length).mT
        kt = _turn(key.transpose(1, 2), (cos, sin), into=k).mT.flatten(0, 1)
        v = value.transpose(1, 2).flatten(0, 1).contiguous()
        y, future, weights = torch.empty_like(value), _future(rows, query), []
        for begin in range(0, length, rows):
            end = min(begin + rows, length)
            scores = torch.bmm(q[:, begin:end], kt[:, :, :end])
            scores[:, :, begin:].masked_fill_(future[: end - begin, : end - begin], -torch.inf)
            weights.append(torch.softmax(scores, dim=-1, out=scores))
            y[:, begin:end] = torch.bmm(scores, v[:, :end]).unflatten(0, (batch, heads)).transpose(1, 2)
        return y, q, kt, v, *weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        # The inputs are of no use to the first derivative, and make a second one find that there is none.
        ctx.save_for_backward(*inputs[:2], *inputs[3:], *output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        cos, sin, *saved = ctx.saved_tensors
        return None, None, None, *_AttentionBackward.apply(cos, sin, gradients[0], *saved)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        return _part(info, _Attention.apply(*_join(info, in_dims, args, shared=3)))


class _AttentionBackward(torch.autograd.Function):
    """dQ, dK, dV [B, T, heads, size] of dY."""

    @staticmethod
    def forward(cos: Tensor, sin: Tensor, gradient: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        q, kt, v, *weights = saved[3:]
        heads, size = gradient.shape[2:]
        g = gradient.transpose(1, 2).flatten(0, 1).contiguous()
        dq, dk, dv = torch.empty_like(q), torch.empty(0), torch.empty(0)
        # The last rows come first: they see every key, so their products begin the sums over rows.
        for p in reversed(weights):
            end = p.shape[2]
            some = slice(end - p.shape[1], end)
            ds = torch.bmm(g[:, some], v[:, :end].transpose(1, 2))
            torch.ops.aten._softmax_backward_data.out(ds, p, -1, p.dtype, grad_input=ds)
            more_v, more_k = torch.bmm(p.transpose(1, 2), g[:, some]), torch.bmm(q[:, some].transpose(1, 2), ds)
            if p is weights[-1]:
                dk, dv = more_k, more_v
            else:
                dv[:, :end] += more_v
                dk[:, :, :end] += more_k
            dq[:, some] = torch.bmm(ds, kt[:, :, :end].transpose(1, 2))
        dq *= size**-0.5
        dq, dk, dv = (x.unflatten(0, (-1, heads)).transpose(1, 2) for x in (dq, dk.transpose(1, 2), dv))
        angles = cos[:, None], sin[:, None]
        return _turn_back(dq, angles), _turn_back(dk, angles), dv

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing: a second derivative is refused."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("rotary_attention: no second derivative; differentiate causal_attention instead")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        return _part(info, _AttentionBackward.apply(*_join(info, in_dims, args, shared=2)))
