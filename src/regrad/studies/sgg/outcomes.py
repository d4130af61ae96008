"""What the records of the study of SGG say beyond what every study's do: how large the scales S are."""

from collections.abc import Iterable
from statistics import fmean

from regrad.report.outcomes import Outcomes
from regrad.studies.sgg.arms import PRETRAINING, SMALLEST, Comparison, SGGArm

PRETRAINED = tuple(comparison for sizes in PRETRAINING.values() for comparison in sizes)


class SGGOutcomes(Outcomes):
    """Records of the study; its accuracies are shares, as the paper's differences and the ledger's margins are."""

    accuracy_unit = 1.0

    def present(self, comparisons: Iterable[Comparison]) -> list[Comparison]:
        """Return the comparisons of which both tuned arms have run."""
        return [c for c in comparisons if len(self.arm(c.plain.name)) and len(self.arm(c.wrapped.name))]

    def label(self, comparison: Comparison, arm: SGGArm) -> str:
        """Return what figures and tables call an arm of pre-training: with the size of its model."""
        return f"{arm.label}, {self.size(comparison)}"

    def size(self, comparison: Comparison) -> str:
        """Return how many parameters a comparison's model has, in thousands."""
        return f"{self.arm(comparison.name).parameters / 1000:,.0f}k"

    @property
    def times(self) -> int:
        """How many times the comparison's steps the runs of part ``budget`` have; 0 without any."""
        longer, short = self.part("budget"), self.fresh.arm(SMALLEST.name)
        return round(longer.records[0].spec.steps / short.records[0].spec.steps) if len(longer) and len(short) else 0

    def mean_scale(self) -> float | None:
        """Return the mean of S over the steps of one arm's runs, None where none is recorded."""
        _, scales = self.mean_curve("scale/mean")
        # S is 1 up to the first recluster, and the last value, after the last step, holds for none.
        return fmean([1.0, *scales[:-1]]) if scales else None

    def last_scale(self, which: str) -> float | None:
        """Return the ``"low"``, ``"mean"`` or ``"high"`` of S after one arm's last recluster, None without any."""
        _, scales = self.mean_curve(f"scale/{which}")
        return scales[-1] if scales else None
