"""Acts on: per-example gradients. nn.LSTM, nn.GRU and nn.RNN, their cells, and packed sequences.

A recurrent weight acts once a step: its uses are laid side by side as the positions of one linear layer. A layer is
one function whose steps `scans.py` takes; where another precision or a projection is asked for, cell after cell.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from regrad.perexample.contributions import Dense, Factors
from regrad.perexample.deposits import deposit, rule_backward
from regrad.perexample.rules.linear import linear
from regrad.perexample.rules.scans import SCANS

if TYPE_CHECKING:
    from regrad.perexample.calls import Call
    from regrad.perexample.surgery import Surgery

RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)

# A cell takes what input and state contribute to its gates, and its state; it returns the state, the output first.
State = tuple[Tensor, ...]
Cell = Callable[[Tensor, Tensor, State], State]


def _lstm(zx: Tensor, zh: Tensor, state: State) -> State:
    i, f, g, o = (zx + zh).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(zx: Tensor, zh: Tensor, state: State) -> State:
    (xr, xz, xn), (hr, hz, hn) = zx.chunk(3, -1), zh.chunk(3, -1)
    n = (xn + (xr + hr).sigmoid() * hn).tanh()
    return (n + (xz + hz).sigmoid() * (state[0] - n),)


def _tanh(zx: Tensor, zh: Tensor, _: State) -> State:
    return ((zx + zh).tanh(),)


def _relu(zx: Tensor, zh: Tensor, _: State) -> State:
    return ((zx + zh).relu(),)


_CELLS: dict[str, Cell] = {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _tanh, "RNN_RELU": _relu}


def cell_rule(cell: Cell) -> Callable[["Call"], Any]:
    """The rule of torch.lstm_cell and its like."""

    def rule(call: "Call") -> Any:
        x, state, w_ih, w_hh, b_ih, b_hh = call.bind("input", "hx", "w_ih", "w_hh", "b_ih", "b_hh")
        surgery, states = call.surgery, state if isinstance(state, tuple | list) else (state,)
        weights = (w_ih, w_hh, b_ih, b_hh)
        if any(map(surgery.is_tracked, (x, *states))) or not all(map(surgery.is_shared, weights)):
            return NotImplemented
        zx = linear(surgery, x, weight=w_ih, bias=b_ih)
        zh = linear(surgery, states[0], weight=w_hh, bias=b_hh)
        answer = cell(zx, zh, tuple(states))
        return answer if len(answer) > 1 else answer[0]

    return rule


lstm_cell_rule, gru_cell_rule, tanh_cell_rule, relu_cell_rule = map(cell_rule, (_lstm, _gru, _tanh, _relu))


class _Recurrence(torch.autograd.Function):
    """One direction of one layer, [B·k, T, d] -> each state [B·k, T, n] after each step; `own` is (kind, k)."""

    @staticmethod
    def forward(ctx, anchor, handles, own, x, w_ih, w_hh, b_ih, b_hh, *states):
        # The steps are nobody's business: one function for the surgery, and for autograd.
        with torch._C.DisableTorchFunction():
            zx = torch.nn.functional.linear(x.transpose(0, 1).contiguous(), w_ih, b_ih)
            outputs, kept = SCANS[own[0]].forwards(zx, states, w_hh, b_hh)
        ctx.save_for_backward(x, w_ih, w_hh, *states, *kept)
        ctx.handles, ctx.own, ctx.count = handles, own, len(states)
        # Copies: what follows may change them in place.
        return tuple(y.transpose(0, 1).clone(memory_format=torch.contiguous_format) for y in outputs)

    @staticmethod
    @rule_backward
    def backward(ctx, saved, *gradients):
        (x, w_ih, w_hh), rest = saved[:3], saved[3:]
        states, kept = rest[: ctx.count], rest[ctx.count :]
        kind, rows = ctx.own
        gradients = tuple(g.transpose(0, 1) for g in gradients)
        dzx, dzh, into_states = SCANS[kind].backwards(gradients, kept, states, w_hh)
        # The output is what was kept last, but for an LSTM's cells.
        hs = kept[-2] if kind == "LSTM" else kept[-1]
        before = torch.cat([states[0].unsqueeze(0), hs[:-1]]).transpose(0, 1)
        gx = dzx.transpose(0, 1).contiguous()
        gh = gx if dzh is dzx else dzh.transpose(0, 1).contiguous()
        apart = lambda v: v if rows == 1 else v.unflatten(0, (-1, rows))  # noqa: E731
        deposit(ctx.handles[0], Factors.pack(apart(gx), apart(x)))
        deposit(ctx.handles[1], Factors.pack(apart(gh), apart(before)))
        by_x = gx.sum(1)
        for handle, block in zip(ctx.handles[2:], (by_x, by_x if gh is gx else gh.sum(1)), strict=True):
            deposit(handle, Dense.of_rows(block, rows))
        into = gx @ w_ih if ctx.needs_input_grad[3] else None
        return None, None, None, into, None, None, None, None, *into_states


def recurrent_forward(surgery: "Surgery", module: Any) -> Callable[..., Any]:
    """What to put in place of the module's forward: the same answer, whose weights the surgery sees."""

    def forward(x: Any, hx: Any = None) -> Any:
        # Padded, the examples stand in the order in which they were packed.
        lengths = None
        packed = x
        if isinstance(x, PackedSequence):
            x, lengths = pad_packed_sequence(x, batch_first=True)
            if hx is not None and packed.unsorted_indices is None and not module.batch_first:
                raise ValueError("packed sequences with a state of their own have no rule; use method='loop'")
        elif x.ndim != 3 or len(x) % surgery.size:
            raise ValueError(f"{type(module).__name__}: {list(x.shape)} is not [B, T, d]; use batch_first=True")
        start = (hx if isinstance(hx, tuple) else (hx,)) if hx is not None else ()
        y: Any
        y, states = _layers(surgery, module, x, start, lengths)
        if lengths is not None:
            y = pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
            if packed.sorted_indices is None:
                y = PackedSequence(y.data, y.batch_sizes)
        return y, states if isinstance(module, nn.LSTM) else states[0]

    return forward


def _layers(surgery: "Surgery", module: Any, x: Tensor, start: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    ends = []
    for layer in range(module.num_layers):
        directions = []
        for d in range(2 if module.bidirectional else 1):
            index = layer * (2 if module.bidirectional else 1) + d
            own = tuple(s[index] for s in start)
            y, end = _direction(surgery, module, x, own, names=(f"l{layer}" + "_reverse" * d, lengths))
            directions.append(y)
            ends.append(end)
        x = torch.cat(directions, -1)
    return x, tuple(torch.stack(states) for states in zip(*ends, strict=True))


def _direction(surgery: "Surgery", module: Any, x: Tensor, state: State, *, names: Any) -> tuple[Tensor, State]:
    suffix, lengths = names
    weights: list[Any] = [
        getattr(module, f"{name}_{suffix}", None)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    if not state:
        sizes = (weights[1].shape[1], module.hidden_size)[: 1 + isinstance(module, nn.LSTM)]
        state = tuple(x.new_zeros(len(x), size) for size in sizes)
    narrow = torch.is_autocast_enabled(x.device.type) or x.dtype not in (torch.float32, torch.float64)
    if narrow or weights[-1] is not None:
        return _cell_by_cell(surgery, module, x, state, names=(weights, *names))
    backwards = suffix.endswith("reverse")
    x = _turn(x, lengths) if backwards else x
    own = (module.mode, len(x) // surgery.size)
    detached = (None if w is None else w.detach() for w in weights[:4])
    states = _Recurrence.apply(surgery.anchor, [surgery.use(w) for w in weights[:4]], own, x, *detached, *state)
    # Packed sequences end where each of them does.
    last = x.shape[1] - 1 if lengths is None else (lengths - 1).to(x.device)
    ends = tuple(y[torch.arange(len(y), device=y.device), last] for y in states)
    return _turn(states[0], lengths) if backwards else states[0], ends


def _turn(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence from its end to its beginning; what lies behind the end stays there."""
    if lengths is None:
        return x.flip(1)
    steps, ends = torch.arange(x.shape[1], device=x.device), lengths.to(x.device).unsqueeze(1)
    order = torch.where(steps < ends, ends - 1 - steps, steps)
    return x[torch.arange(len(x), device=x.device).unsqueeze(1), order]


def _cell_by_cell(surgery: "Surgery", module: Any, x: Tensor, state: State, *, names: Any) -> tuple[Tensor, State]:
    (w_ih, w_hh, b_ih, b_hh, w_hr), suffix, lengths = names
    cell = _CELLS[module.mode]
    zx = linear(surgery, x, weight=w_ih, bias=b_ih)
    state = tuple(s.to(zx.dtype) for s in state)
    steps, outputs = range(x.shape[1]), [zx] * x.shape[1]
    for t in reversed(steps) if suffix.endswith("reverse") else steps:
        new = cell(zx[:, t], linear(surgery, state[0], weight=w_hh, bias=b_hh), state)
        if w_hr is not None:
            new = (linear(surgery, new[0], weight=w_hr, bias=None), *new[1:])
        outputs[t] = new[0]
        if lengths is not None:
            inside = (t < lengths).to(x.device).unsqueeze(1)
            new = tuple(torch.where(inside, a, b) for a, b in zip(new, state, strict=True))
        state = new
    return torch.stack(outputs, 1), state
