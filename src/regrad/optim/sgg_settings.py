"""The settings of SGG, checked.

Acts on: nothing.
"""

from dataclasses import dataclass
from typing import Any

from regrad.transforms.checks import flag, in_range, integer_at_least, one_of, positive
from regrad.transforms.cluster_statistics import STATISTICS
from regrad.transforms.grouping import GROUPINGS, GroupFunction

VARIANTS = ("paper", "public_v2", "public_c4")
FEATURES = ("abs_momentum", "momentum", "abs_gradient", "gradient", "second_moment")
GLOBAL_DEVIATIONS = ("entries", "clusters")


@dataclass(frozen=True)
class SGGSettings:
    """See `regrad.optim.sgg.SGG` for what the fields mean; a bad one raises ``ValueError``."""

    clusters: int
    interval: int
    beta3: float
    bounds: tuple[float, float]
    eps: float
    feature: str
    statistic: str
    global_deviation: str
    variant: str
    grouping: str | GroupFunction
    centre_decay: float | None
    scale_weight_decay: bool
    materialize: bool
    index_device: Any
    compiled: bool = False

    def __post_init__(self) -> None:
        integer_at_least("clusters", self.clusters, 1)
        if self.clusters > 256:
            raise ValueError(f"clusters must be at most 256 (the index is uint8), got {self.clusters}")
        integer_at_least("interval", self.interval, 1)
        in_range("beta3", self.beta3, 0, 1)
        if not isinstance(self.bounds, tuple | list) or len(self.bounds) != 2:
            raise ValueError(f"bounds must be a pair of numbers 0 < low <= high, got {self.bounds!r}")
        for side, bound in zip(("low", "high"), self.bounds, strict=True):
            positive(f"bounds ({side})", bound)
        if self.bounds[0] > self.bounds[1]:
            raise ValueError(f"bounds must be a pair of numbers 0 < low <= high, got {self.bounds!r}")
        positive("eps", self.eps)
        if self.centre_decay is not None:
            in_range("centre_decay", self.centre_decay, 0, 1)
        one_of("feature", self.feature, FEATURES)
        one_of("statistic", self.statistic, STATISTICS)
        one_of("global_deviation", self.global_deviation, GLOBAL_DEVIATIONS)
        one_of("variant", self.variant, VARIANTS)
        if not callable(self.grouping):
            one_of("grouping", self.grouping, tuple(GROUPINGS))
        flag("scale_weight_decay", self.scale_weight_decay)
        flag("materialize", self.materialize)
        flag("compiled", self.compiled)
        one_of("index_device", self.index_device, (None, "cpu"))

    @property
    def group(self) -> GroupFunction:
        """The function that groups."""
        return GROUPINGS[self.grouping] if isinstance(self.grouping, str) else self.grouping
