"""Acts on: per-example gradients. torch.nn.MultiheadAttention as its linear parts.

The bias of the keys shifts every score of a query alike, which the softmax ignores: its exact gradient is
zero and what a backward pass leaves there is rounding noise.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.rules.broadcast import per_example

if TYPE_CHECKING:
    from regrad.perexample.calls import Call
    from regrad.perexample.surgery import Surgery

_NAMES = [
    "query",
    "key",
    "value",
    "embed_dim_to_check",
    "num_heads",
    "in_proj_weight",
    "in_proj_bias",
    "bias_k",
    "bias_v",
    "add_zero_attn",
    "dropout_p",
    "out_proj_weight",
    "out_proj_bias",
    "training",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "use_separate_proj_weight",
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
    "static_k",
    "static_v",
    "average_attn_weights",
    "is_causal",
]


def attention_rule(call: "Call") -> Any:
    """The module hands over [T, B, d]; inside, the examples come first."""
    arguments = dict(zip(_NAMES, call.bind(*_NAMES), strict=True))
    _refuse_unsupported(call, arguments)
    surgery, heads = call.surgery, arguments["num_heads"]
    examples = [arguments[name].transpose(0, 1) for name in ("query", "key", "value")]
    with surgery:
        q, k, v = _project(surgery, arguments, examples)
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    mask = _mask(arguments, q, k)
    # torch's kernel does not give the weights away; asked for them, nn.MultiheadAttention too computes them plainly.
    if arguments["need_weights"]:
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        y = weights @ v
    else:
        weights, y = None, functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    y = y.transpose(1, 2).flatten(2)
    with surgery:
        y = functional.linear(y, arguments["out_proj_weight"], arguments["out_proj_bias"])
    if weights is not None and arguments["average_attn_weights"] is not False:
        weights = weights.mean(1)
    return y.transpose(0, 1), weights


def position_bias_rule(call: "Call") -> Any:
    """functional.scaled_dot_product_attention of examples, whose mask is made of parameters (as T5's and Swin's)."""
    q, k, v, mask, rate, causal, scale, grouped = call.bind(
        "query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"
    )
    surgery = call.surgery
    if any(map(surgery.is_tracked, (q, k, v))) or mask.ndim > q.ndim or (mask.ndim == q.ndim and len(mask) != 1):
        return NotImplemented
    rest: Any = {"dropout_p": rate or 0.0, "is_causal": bool(causal), "scale": scale}
    rest |= {"enable_gqa": True} if grouped else {}
    bias = per_example(surgery, mask, q.ndim)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), **rest)


def _refuse_unsupported(call: "Call", arguments: dict[str, Any]) -> None:
    if arguments["dropout_p"] and arguments["training"] is not False:
        raise call.refuse("attention dropout draws fresh noise; set dropout=0 or call eval()", final=True)
    if arguments["bias_k"] is not None or arguments["bias_v"] is not None or arguments["add_zero_attn"]:
        raise call.refuse("bias_k, bias_v and add_zero_attn have no rule; leave them off")
    if arguments["static_k"] is not None or arguments["static_v"] is not None or arguments["query"].ndim != 3:
        raise call.refuse("static keys and unbatched queries have no rule; pass [B, T, d] with batch_first=True")
    if arguments["query"].shape[1] % call.surgery.size:
        raise call.refuse(f"a {list(arguments['query'].shape)} query does not hold the examples; use batch_first=True")


def _project(surgery: "Surgery", arguments: dict[str, Any], examples: list[Tensor]) -> list[Tensor]:
    """q, k and v [B, T, d]; runs under the surgery, so that slices of the packed weight are followed."""
    bias = arguments["in_proj_bias"]
    if arguments["use_separate_proj_weight"]:
        weights = [arguments[f"{letter}_proj_weight"] for letter in "qkv"]
    elif arguments["query"] is arguments["key"] is arguments["value"]:
        return list(functional.linear(examples[0], arguments["in_proj_weight"], bias).chunk(3, -1))
    else:
        weights = list(arguments["in_proj_weight"].chunk(3))
    biases = [None] * 3 if bias is None else bias.chunk(3)
    return [functional.linear(x, w, b) for x, w, b in zip(examples, weights, biases, strict=True)]


def _mask(arguments: dict[str, Any], q: Tensor, k: Tensor) -> Tensor | None:
    """Both masks as one that is added to the scores [B, heads, Tq, Tk]."""
    total = None
    attention, padding = arguments["attn_mask"], arguments["key_padding_mask"]
    if attention is not None:
        attention = _additive(attention, q)
        total = attention.unflatten(0, (len(q), -1)) if attention.ndim == 3 else attention
    if padding is not None:
        padding = _additive(padding, q)[:, None, None, :]
        total = padding if total is None else total + padding
    return total


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
