"""SGG that groups by Gaussian mixtures or DBSCAN: for comparison with k-means, not for use.

Acts on: the update, as `regrad.optim.sgg` does.
"""

from dataclasses import dataclass, fields
from typing import Any

from torch.optim import Optimizer

from regrad.optim.sgg import SGG
from regrad.optim.sgg_settings import SGGSettings
from regrad.transforms.checks import one_of
from regrad.transforms.compared_groupings import COMPARED
from regrad.transforms.grouping import GROUPINGS

# The recluster looks its algorithm up there; SGG's own settings still refuse these names.
GROUPINGS |= COMPARED


@dataclass(frozen=True)
class ComparedSettings(SGGSettings):
    """SGG's settings with a grouping of the comparison."""

    def _check_names(self) -> None:
        one_of("grouping", self.grouping, tuple(COMPARED))


class ComparedSGG(SGG):
    """SGG with scikit-learn in its step, on the CPU.

    Args:
        base: As of SGG.
        grouping: "gmm" or "dbscan" (`regrad.transforms.compared_groupings`).
        settings: Of SGG.

    Raises:
        ValueError: A setting out of range.
        ImportError: At the first recluster, without scikit-learn.
    """

    def __init__(self, base: Optimizer, *, grouping: str, **settings: Any) -> None:
        super().__init__(base, **settings)  # checks the rest
        given = {field.name: getattr(self.settings, field.name) for field in fields(self.settings)}
        self.settings = ComparedSettings(**given | {"grouping": grouping})
