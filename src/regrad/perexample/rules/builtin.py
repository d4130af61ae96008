"""Every rule that comes with the library; importing them registers them."""

from regrad.perexample.rules.attention import attention_rule
from regrad.perexample.rules.broadcast import elementwise_rule
from regrad.perexample.rules.convolution import convolution_rule
from regrad.perexample.rules.embedding import embedding_rule
from regrad.perexample.rules.fallback import fallback_rule
from regrad.perexample.rules.group_norm import batch_norm_rule, group_norm_rule, instance_norm_rule
from regrad.perexample.rules.linear import linear_rule, matmul_rule
from regrad.perexample.rules.normalization import layer_norm_rule, rms_norm_rule

BUILTIN = (
    attention_rule,
    batch_norm_rule,
    convolution_rule,
    elementwise_rule,
    embedding_rule,
    fallback_rule,
    group_norm_rule,
    instance_norm_rule,
    layer_norm_rule,
    linear_rule,
    matmul_rule,
    rms_norm_rule,
)
