"""What the reference's runs measured of per-example gradients (`runtime.gradient_noise`), read from their curves."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from scipy.stats import norm

from regrad.report.outcomes import Outcomes
from regrad.results import Record
from regrad.studies.sign_placement.arms import ARMS, REFERENCE

LARGEST_SHARE = 1 - 1e-9  # a share of 1 would be an infinite signal-to-noise ratio


def reference_runs(records: Iterable[Record]) -> Outcomes:
    return Outcomes(records).arm(REFERENCE.name).fresh


def predicted_snr(record: Record) -> dict[str, float]:
    """Return each arm's predicted signal-to-noise ratio: Φ⁻¹ of the resampled share of right signs.

    The share is averaged over coordinates and checkpoints. A Gaussian update of SNR x has the right
    sign with probability Φ(x); unlike the SNR itself the share is defined for an update that never varies.
    """
    curves = {arm: record.curves.get(f"noise/all/resampled_right/{arm}") for arm in ARMS}
    shares = {arm: fmean(curve.y) for arm, curve in curves.items() if curve is not None}
    # Averaged before Φ⁻¹: a single coordinate with a share of 1 would be infinite.
    return {arm: float(norm.ppf(min(share, LARGEST_SHARE))) for arm, share in shares.items()}


def mean_predicted_snr(records: Sequence[Record]) -> dict[str, float]:
    """Return each arm's predicted signal-to-noise ratio, averaged over seeds; empty without a run that measured."""
    scores = [predicted_snr(run) for run in reference_runs(records) if not run.diverged]
    return {arm: fmean(score[arm] for score in scores) for arm in scores[0]} if scores else {}


def values_by_parameter(records: Iterable[Record], what: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for run in reference_runs(records).by_seed.values():
        for name, curve in run.curves.items():
            kind, _, rest = name.partition("/")
            parameter, _, number = rest.partition("/")
            if kind == "noise" and number == what:
                values.setdefault(parameter, []).extend(curve.y)
    return values
