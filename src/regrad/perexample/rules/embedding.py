"""Acts on: per-example gradients. A table read by index, one row or a bag: gradients stay in the rows that are read."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.deposits import deposit, rule_backward
from regrad.perexample.tables import Bags, Rows

if TYPE_CHECKING:
    from regrad.perexample.calls import Call


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, handle, tokens, weight, padding):
        ctx.save_for_backward(tokens)
        ctx.handle, ctx.table = handle, (weight.shape[0], padding)
        return functional.embedding(tokens, weight)

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        (tokens,) = saved
        deposit(ctx.handle, Rows.pack(g, tokens, *ctx.table))
        return None, None, None, None, None


def embedding_rule(call: "Call") -> Any:
    """functional.embedding, torch.nn.Embedding; the padding row's gradient is zero."""
    tokens, weight, padding, max_norm, _, by_frequency, _ = call.bind(
        "input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"
    )
    if max_norm is not None or by_frequency:
        raise call.refuse("max_norm and scale_grad_by_freq look at the whole batch; leave them off", final=True)
    row = -1 if padding is None else padding % weight.shape[0]
    surgery = call.surgery
    return _Embedding.apply(surgery.anchor, surgery.use(weight), tokens, weight.detach(), row)


def index_rule(call: "Call") -> Any:
    """A weight [v, …] read by the numbers of rows [B, …]: table[index], index_select."""
    weight, *where = call.args
    surgery = call.surgery
    index = where[-1] if where else call.kwargs.get("index")
    axis = where[0] if len(where) > 1 else call.kwargs.get("dim", 0)
    if call.kwargs.keys() - {"index", "dim"} or axis != 0 or not surgery.is_tracked(weight) or weight.ndim < 2:
        return NotImplemented
    if not isinstance(index, Tensor) or index.dtype not in (torch.int64, torch.int32) or surgery.is_tracked(index):
        return NotImplemented
    with surgery:
        flat = weight.flatten(1) if weight.ndim > 2 else weight
    rows = torch.where(index < 0, index + len(weight), index)
    read = _Embedding.apply(surgery.anchor, surgery.use(flat), rows, flat.detach(), -1)
    return read.unflatten(-1, weight.shape[1:]) if weight.ndim > 2 else read


class _EmbeddingBag(torch.autograd.Function):
    """Bags [B·k, T] of a table; `own` is (padding row or −1, k), `factors` [B·k, T] what rows are multiplied by."""

    @staticmethod
    def forward(ctx, anchor, handle, tokens, weight, factors, own):
        ctx.handle, ctx.own, ctx.rows = handle, own, weight.shape[0]
        into = ctx.needs_input_grad[4]
        ctx.save_for_backward(tokens, factors, *([weight] if into else []))
        # Half precision has no sums of its own, nor may factors be of another dtype.
        padding = None if own[0] < 0 else own[0]
        return functional.embedding_bag(
            tokens, weight, per_sample_weights=factors.to(weight.dtype), mode="sum", padding_idx=padding
        )

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        tokens, factors, *weight = saved
        deposit(ctx.handle, Bags.pack(g, tokens, factors, ctx.rows, *ctx.own))
        into = None
        if weight:
            read = functional.embedding(tokens, weight[0])
            into = torch.where(tokens == ctx.own[0], 0, (read @ g.unsqueeze(-1)).squeeze(-1)).to(factors.dtype)
        return None, None, None, None, into, None


def embedding_bag_rule(call: "Call") -> Any:
    """functional.embedding_bag with sums and means, of bags of one length; the largest go to the fallback."""
    tokens, weight, offsets, max_norm, _, by_frequency, mode, _, factors, last, padding = call.bind(
        "input", "weight", "offsets", "max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse",
        "per_sample_weights", "include_last_offset", "padding_idx",
    )  # fmt: skip
    if max_norm is not None or by_frequency:
        raise call.refuse("max_norm and scale_grad_by_freq look at the whole batch; leave them off", final=True)
    surgery, mode = call.surgery, mode or "mean"
    bags = call.folds.get(id(tokens if offsets is None else offsets), 0)
    if offsets is not None:
        if last or tokens.ndim != 1 or not bags or call.folds.get(id(tokens), 0) % bags:
            return NotImplemented
        # Bags of one length are rows of a matrix; of several, the number of tokens does not follow that of examples.
        length = call.folds[id(tokens)] // bags
        if not torch.equal(offsets, torch.arange(0, len(tokens), length, device=offsets.device)):
            return NotImplemented
        tokens = tokens.unflatten(0, (-1, length))
        factors = None if factors is None else factors.unflatten(0, (-1, length))
    if mode == "max" or not bags or (factors is not None and surgery.is_tracked(factors)):
        return NotImplemented
    row = -1 if padding is None else padding % weight.shape[0]
    if factors is None:
        factors = torch.ones_like(tokens, dtype=weight.dtype)
    if mode == "mean":
        count = (tokens != row).sum(1, keepdim=True).clamp_(min=1)
        factors = factors / count
    return _EmbeddingBag.apply(surgery.anchor, surgery.use(weight), tokens, weight.detach(), factors, (row, bags))
