"""Statistics of per-example gradients: `loop` defines them, `vmap` and `graph` compute them faster."""

from regrad.perexample.checking import check
from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.perexample.inner_products import dot_product
from regrad.perexample.merging import merge_statistics
from regrad.perexample.noise import noise_scale
from regrad.perexample.requests import banded_sign
from regrad.perexample.rules.registry import register_rule
from regrad.perexample.tokens import token_statistics
from regrad.perexample.weights import clipped_mean, group_norms, layer_of, weighted_mean

__all__ = [
    "assign_grad",
    "banded_sign",
    "check",
    "clipped_mean",
    "dot_product",
    "gradient_statistics",
    "group_norms",
    "layer_of",
    "merge_statistics",
    "noise_scale",
    "register_rule",
    "token_statistics",
    "weighted_mean",
]
