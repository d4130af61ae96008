"""Acts on: per-example gradients. Which rule carries out which function, and which functions only look at a weight.

A rule takes a `Call` and returns what the function would, or NotImplemented to leave it to the fallback.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from regrad.perexample.rules.attention import attention_rule, position_bias_rule
from regrad.perexample.rules.broadcast import ELEMENTWISE, elementwise_rule, expand_rule, prelu_rule
from regrad.perexample.rules.convolution import convolution_rule, transposed_convolution_rule
from regrad.perexample.rules.embedding import embedding_bag_rule, embedding_rule, index_rule
from regrad.perexample.rules.group_norm import batch_norm_rule, group_norm_rule, instance_norm_rule
from regrad.perexample.rules.linear import linear_rule, matmul_rule
from regrad.perexample.rules.normalization import layer_norm_rule, rms_norm_rule
from regrad.perexample.rules.products import addmm_rule, bilinear_rule, einsum_rule
from regrad.perexample.rules.recurrent import gru_cell_rule, lstm_cell_rule, relu_cell_rule, tanh_cell_rule

if TYPE_CHECKING:
    from regrad.perexample.calls import Call

_FUNCTIONS: dict[Callable[["Call"], Any], tuple[Any, ...]] = {
    linear_rule: (functional.linear,),
    matmul_rule: (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm),
    addmm_rule: (torch.addmm, Tensor.addmm),
    einsum_rule: (torch.einsum,),
    bilinear_rule: (functional.bilinear,),
    convolution_rule: (
        torch.conv1d, torch.conv2d, torch.conv3d, functional.conv1d, functional.conv2d, functional.conv3d,
    ),
    transposed_convolution_rule: (
        torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
        functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
    ),
    embedding_rule: (functional.embedding,),
    embedding_bag_rule: (functional.embedding_bag,),
    index_rule: (Tensor.__getitem__, torch.index_select, Tensor.index_select),
    attention_rule: (functional.multi_head_attention_forward,),
    position_bias_rule: (functional.scaled_dot_product_attention,),
    layer_norm_rule: (functional.layer_norm,),
    rms_norm_rule: (functional.rms_norm, torch.rms_norm),
    group_norm_rule: (functional.group_norm,),
    instance_norm_rule: (functional.instance_norm,),
    batch_norm_rule: (functional.batch_norm,),
    elementwise_rule: ELEMENTWISE,
    prelu_rule: (functional.prelu, torch.prelu),
    lstm_cell_rule: (torch.lstm_cell,),
    gru_cell_rule: (torch.gru_cell,),
    tanh_cell_rule: (torch.rnn_tanh_cell,),
    relu_cell_rule: (torch.rnn_relu_cell,),
}  # fmt: skip
RULES: dict[Any, Callable[["Call"], Any]] = {
    function: rule for rule, functions in _FUNCTIONS.items() for function in functions
}

# Rules that meet any axes between examples and features alike: [B·k, …] is given to them as [B, k, …].
POSITIONWISE = {
    linear_rule, matmul_rule, addmm_rule, embedding_rule, index_rule, position_bias_rule, layer_norm_rule,
    rms_norm_rule, elementwise_rule,
}  # fmt: skip

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
