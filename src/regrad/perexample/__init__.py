"""Statistics of per-example gradients: `loop` defines them, `vmap` and `graph` compute them faster."""

from regrad.perexample.checking import check
from regrad.perexample.engine import assign_grad, gradient_statistics
from regrad.perexample.requests import banded_sign, clipped_mean
from regrad.perexample.rules.registry import register_rule
from regrad.perexample.tokens import token_statistics

__all__ = [
    "assign_grad",
    "banded_sign",
    "check",
    "clipped_mean",
    "gradient_statistics",
    "register_rule",
    "token_statistics",
]
