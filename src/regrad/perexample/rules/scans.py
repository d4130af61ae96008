"""Acts on: per-example gradients. A recurrent layer's own recurrence, forwards and backwards, in few calls.

What an example's gradient is made of are the gradients of the gates at each step: with those, input and recurrent
weight are linear layers of T positions. Everything that does not wait for the step before is done for all steps at
once; what remains in the loop backwards is a product and two to five elementwise calls.

Tensors are [T, B, …] here; g is the gradient with respect to what a scan gave.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Of a scan forwards: what came out at each step, and what its way back needs.
Kept = tuple[Tensor, ...]
# Backwards: gradients of the input's and of the state's part of the gates, and of the initial states.
Back = tuple[Tensor, Tensor, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Scan:
    """A kind of recurrent layer, as functions of (zx, states, w_hh, b_hh) and of (gradients, kept, states, w_hh)."""

    forwards: Callable[[Tensor, Kept, Tensor, Tensor | None], tuple[Kept, Kept]]
    backwards: Callable[[tuple[Tensor, ...], Kept, Kept, Tensor], Back]


def _before(start: Tensor, steps: Tensor) -> Tensor:
    """The state that each step met."""
    return torch.cat([start.unsqueeze(0), steps[:-1]])


def _after(gradients: Tensor) -> Tensor:
    """What each step's way back goes on with: the gradient with respect to the step before, none before the first."""
    return torch.cat([torch.zeros_like(gradients[:1]), gradients[:-1]])


def _steps(*tensors: Tensor, backwards: bool = False) -> Iterator[tuple[Tensor, ...]]:
    """The parts of each step; all views are made beforehand, since in the loop each would cost as much as a call."""
    apart = [x.unbind() for x in tensors]
    return zip(*(reversed(x) for x in apart), strict=True) if backwards else zip(*apart, strict=True)


def _lstm_forwards(zx: Tensor, states: Kept, w: Tensor, b: Tensor | None) -> tuple[Kept, Kept]:
    (h, c), n = states, w.shape[1]
    gates = zx if b is None else zx.add_(b)
    (hs, cs, tanhs), turned = (zx.new_empty(*zx.shape[:2], n) for _ in range(3)), w.t()
    added = zx.new_empty(zx.shape[1], n)
    parts = (gates, gates[..., : 2 * n], *gates.split(n, -1), hs, cs, tanhs)
    for z, i_and_f, i, f, g, o, h_out, c_out, tanh in _steps(*parts):
        z.addmm_(h, turned)
        i_and_f.sigmoid_()
        g.tanh_()
        o.sigmoid_()
        c = torch.addcmul(torch.mul(i, g, out=added), f, c, out=c_out)
        h = torch.mul(o, torch.tanh(c, out=tanh), out=h_out)
    return (hs, cs), (gates, tanhs, hs, cs)


def _lstm_backwards(gradients: tuple[Tensor, ...], kept: Kept, states: Kept, w: Tensor) -> Back:
    (by_h, by_c), (gates, tanh, _, cs) = gradients, kept
    i, f, g, o = gates.chunk(4, -1)
    through = o * (1 - tanh.square())
    own = torch.stack([g * i * (1 - i), _before(states[1], cs) * f * (1 - f), i * (1 - g.square())], 2)
    out = tanh * o * (1 - o)
    dz, dc_now = torch.empty_like(gates), torch.empty_like(cs[0])
    dh, dc, wide = by_h[-1], by_c[-1], dc_now.unsqueeze(1)
    first, last = dz.unflatten(-1, (4, -1)).split((3, 1), 2)
    parts = (through, own, out, f, dz, first, last.squeeze(2), _after(by_h), _after(by_c))
    for k, k_own, k_out, f_t, z, z_own, z_out, h_next, c_next in _steps(*parts, backwards=True):
        torch.addcmul(dc, dh, k, out=dc_now)
        torch.mul(wide, k_own, out=z_own)
        torch.mul(dh, k_out, out=z_out)
        dh = torch.addmm(h_next, z, w)
        dc = torch.addcmul(c_next, dc_now, f_t)
    return dz, dz, (dh, dc)


def _gru_forwards(zx: Tensor, states: Kept, w: Tensor, b: Tensor | None) -> tuple[Kept, Kept]:
    (h,), n, turned = states, w.shape[1], w.t()
    hs, zh = zx.new_empty(*zx.shape[:2], n), torch.empty_like(zx)
    parts = (*zx.split((2 * n, n), -1), *zx[..., : 2 * n].split(n, -1), zh, *zh.split((2 * n, n), -1), hs)
    for both, new, r, u, z, z_both, z_new, h_out in _steps(*parts):
        torch.mm(h, turned, out=z) if b is None else torch.addmm(b, h, turned, out=z)
        both.add_(z_both).sigmoid_()
        new.addcmul_(r, z_new).tanh_()
        h = torch.lerp(new, h, u, out=h_out)
    return (hs,), (zx, zh[..., 2 * n :], hs)


def _gru_backwards(gradients: tuple[Tensor, ...], kept: Kept, states: Kept, w: Tensor) -> Back:
    (by_h,), (gates, inner, hs) = gradients, kept
    r, u, new = gates.chunk(3, -1)
    by_new = (1 - u) * (1 - new.square())
    own = torch.stack([by_new * inner * r * (1 - r), (_before(states[0], hs) - new) * u * (1 - u), by_new * r], 2)
    dzh, dhs = torch.empty_like(gates), torch.empty_like(hs)
    dh = by_h[-1]
    for k, u_t, z, z_own, dh_t, h_next in _steps(
        own, u, dzh, dzh.unflatten(-1, (3, -1)), dhs, _after(by_h), backwards=True
    ):
        dh_t.copy_(dh)
        torch.mul(dh.unsqueeze(1), k, out=z_own)
        dh = torch.addmm(torch.addcmul(h_next, dh, u_t), z, w)
    dzx = dzh.clone()
    torch.mul(dhs, by_new, out=dzx[..., 2 * w.shape[1] :])
    return dzx, dzh, (dh,)


def _plain(function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Scan:
    def forwards(zx: Tensor, states: Kept, w: Tensor, b: Tensor | None) -> tuple[Kept, Kept]:
        h, turned = states[0], w.t()
        hs = zx if b is None else zx.add_(b)
        for z in hs.unbind():
            h = function(z.addmm_(h, turned))
        return (hs,), (hs,)

    def backwards(gradients: tuple[Tensor, ...], kept: Kept, states: Kept, w: Tensor) -> Back:
        (by_h,), slopes = gradients, slope(kept[0])
        dz, dh = torch.empty_like(slopes), by_h[-1]
        for k, z, h_next in _steps(slopes, dz, _after(by_h), backwards=True):
            torch.mul(dh, k, out=z)
            dh = torch.addmm(h_next, z, w)
        return dz, dz, (dh,)

    return Scan(forwards, backwards)


SCANS = {
    "LSTM": Scan(_lstm_forwards, _lstm_backwards),
    "GRU": Scan(_gru_forwards, _gru_backwards),
    "RNN_TANH": _plain(torch.tanh_, lambda y: 1 - y.square()),
    "RNN_RELU": _plain(torch.relu_, lambda y: (y > 0).to(y.dtype)),
}
