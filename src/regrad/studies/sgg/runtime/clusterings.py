"""SGG with a clustering algorithm that is there for comparison, as a run names it."""

from typing import Any

from torch.optim import Optimizer

from regrad.optim.sgg_compared import ComparedSGG


def sgg_compared(base: Optimizer, *, lr: float, grouping: str, **settings: Any) -> ComparedSGG:
    """Put an SGG around ``base`` that groups by "gmm" or "dbscan"; ``lr`` must be the base optimizer's.

    Raises:
        ValueError: The two learning rates differ, or a setting is out of range.
    """
    own = base.param_groups[0]["lr"]
    if own != lr:
        raise ValueError(f"lr={lr!r} must be the base optimizer's, {own!r}")
    return ComparedSGG(base, grouping=grouping, **settings)
