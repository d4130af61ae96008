"""Statistics of per-example gradients: `loop` defines them, `vmap` and `graph` compute them faster."""

from regrad.perexample.engine import gradient_statistics
from regrad.perexample.requests import clipped_mean
from regrad.perexample.training import assign_grad

__all__ = ["assign_grad", "clipped_mean", "gradient_statistics"]
