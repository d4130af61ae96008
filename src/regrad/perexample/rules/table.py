"""Acts on: per-example gradients. Which rule carries out which function, and which functions only look at a weight.

A rule takes a `Call` and returns what the function would, or NotImplemented to leave it to the fallback.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.rules.attention import attention_rule
from regrad.perexample.rules.broadcast import ELEMENTWISE, elementwise_rule, expand_rule
from regrad.perexample.rules.convolution import convolution_rule
from regrad.perexample.rules.embedding import embedding_rule
from regrad.perexample.rules.group_norm import batch_norm_rule, group_norm_rule, instance_norm_rule
from regrad.perexample.rules.linear import linear_rule, matmul_rule
from regrad.perexample.rules.normalization import layer_norm_rule, rms_norm_rule

if TYPE_CHECKING:
    from regrad.perexample.surgery import Call

_FUNCTIONS: dict[Callable[["Call"], Any], tuple[Any, ...]] = {
    linear_rule: (functional.linear,),
    matmul_rule: (torch.matmul, Tensor.matmul, Tensor.__matmul__),
    convolution_rule: (
        torch.conv1d, torch.conv2d, torch.conv3d, functional.conv1d, functional.conv2d, functional.conv3d,
    ),
    embedding_rule: (functional.embedding,),
    attention_rule: (functional.multi_head_attention_forward,),
    layer_norm_rule: (functional.layer_norm,),
    rms_norm_rule: (functional.rms_norm, torch.rms_norm),
    group_norm_rule: (functional.group_norm,),
    instance_norm_rule: (functional.instance_norm,),
    batch_norm_rule: (functional.batch_norm,),
    elementwise_rule: ELEMENTWISE,
}  # fmt: skip
RULES: dict[Any, Callable[["Call"], Any]] = {
    function: rule for rule, functions in _FUNCTIONS.items() for function in functions
}

# Functions that hold the examples on another axis than the first; their rule looks for them itself.
OWN_LAYOUT = {functional.multi_head_attention_forward}

# Functions that may give a weight its example axis, with the rule that does so once they have.
SPREADS: dict[Any, Callable[["Call", torch.Size], Tensor]] = dict.fromkeys(
    (Tensor.expand, Tensor.expand_as, torch.broadcast_to, Tensor.broadcast_to), expand_rule
)

# Functions whose answer shows some entries of their first argument, each at most once (where it shares its memory).
VIEWS = {
    Tensor.__getitem__, Tensor.view, Tensor.reshape, Tensor.t, Tensor.transpose, Tensor.permute, Tensor.unsqueeze,
    Tensor.squeeze, Tensor.flatten, Tensor.unflatten, Tensor.narrow, Tensor.select, Tensor.chunk, Tensor.split,
    Tensor.unbind, Tensor.T.__get__, Tensor.mT.__get__, torch.t, torch.transpose, torch.permute, torch.unsqueeze,  # type: ignore[attr-defined]
    torch.squeeze, torch.flatten, torch.reshape, torch.narrow, torch.select, torch.chunk, torch.split, torch.unbind,
}  # fmt: skip
