"""Acts on: per-example gradients. A table read by index: gradients stay in the rows that are read."""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from regrad.perexample.contributions import Rows
from regrad.perexample.deposits import deposit, rule_backward

if TYPE_CHECKING:
    from regrad.perexample.surgery import Call


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
        return deposit(ctx.handle, Rows.pack(g, tokens, *ctx.table)), None, None, None, None


def embedding_rule(call: "Call") -> Any:
    """functional.embedding, torch.nn.Embedding; the padding row's gradient is zero."""
    tokens, weight, padding, max_norm, _, by_frequency, _ = call.bind(
        "input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"
    )
    if max_norm is not None or by_frequency:
        raise call.refuse("max_norm and scale_grad_by_freq look at the whole batch; leave them off")
    row = -1 if padding is None else padding % weight.shape[0]
    surgery = call.surgery
    return _Embedding.apply(surgery.anchor, surgery.use(weight), tokens, weight.detach(), row)
