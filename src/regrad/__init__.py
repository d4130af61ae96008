"""Reproductions of four papers that change a gradient between backward pass and update.

What one imports from here needs torch and numpy, and is loaded when it is asked for: ``import regrad`` loads neither
torch nor the laboratory in which the papers were put to the test.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regrad.optim.dgs import DGS as DGS
    from regrad.optim.micro_adam import MicroAdam as MicroAdam
    from regrad.optim.sgg import SGG as SGG
    from regrad.optim.sign_sgd import SignSGD as SignSGD
    from regrad.perexample.checking import check as check
    from regrad.perexample.engine import assign_grad as assign_grad
    from regrad.perexample.engine import gradient_statistics as gradient_statistics
    from regrad.perexample.inner_products import dot_product as dot_product
    from regrad.perexample.merging import merge_statistics as merge_statistics
    from regrad.perexample.noise import noise_scale as noise_scale
    from regrad.perexample.requests import banded_sign as banded_sign
    from regrad.perexample.rules.registry import register_rule as register_rule
    from regrad.perexample.tokens import token_statistics as token_statistics
    from regrad.perexample.weights import clipped_mean as clipped_mean
    from regrad.perexample.weights import group_norms as group_norms
    from regrad.perexample.weights import layer_of as layer_of
    from regrad.perexample.weights import weighted_mean as weighted_mean
    from regrad.scaling.alsdgc import ALSDGC as ALSDGC
    from regrad.transforms.clip_statistics import clip_statistics as clip_statistics

__version__ = "0.2.0"

_HOMES = {
    "ALSDGC": "scaling.alsdgc",
    "DGS": "optim.dgs",
    "MicroAdam": "optim.micro_adam",
    "SGG": "optim.sgg",
    "SignSGD": "optim.sign_sgd",
    "assign_grad": "perexample.engine",
    "banded_sign": "perexample.requests",
    "check": "perexample.checking",
    "clip_statistics": "transforms.clip_statistics",
    "clipped_mean": "perexample.weights",
    "dot_product": "perexample.inner_products",
    "gradient_statistics": "perexample.engine",
    "group_norms": "perexample.weights",
    "layer_of": "perexample.weights",
    "merge_statistics": "perexample.merging",
    "noise_scale": "perexample.noise",
    "register_rule": "perexample.rules.registry",
    "token_statistics": "perexample.tokens",  # nosec B105 - a module's name
    "weighted_mean": "perexample.weights",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regrad' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(f"regrad.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return what there is, loaded or not."""
    return sorted([*globals(), *_HOMES])
