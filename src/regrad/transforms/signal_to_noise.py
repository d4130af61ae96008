"""Acts on: the per-example gradients. What they say about where a sign should go, coordinate by coordinate.

s = |μ|/σ is the signal-to-noise ratio (SNR) of one example's gradient: mean over standard deviation
over examples. Shapes are [*param], elementwise, unless a docstring says otherwise; the last axis of
per-example samples [N, coords] counts coordinates. No function uses the global random state.

Source: the SNR argument is named in the abstract of Roulet and Agarwala, arXiv 2510.00236. Its form here
(h, the three predictions, their limits) is our reconstruction: the paper's body was not available to us.
"""

import math

import torch
from torch import Tensor

from regrad.transforms.checks import in_range, integer_at_least, one_of
from regrad.transforms.placements import PLACEMENTS, ema_gain, group_count


def split_batch_square(mean: Tensor, variance: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Split gbar² into unbiased estimates of its two parts, μ² and σ²/B.

    Args:
        mean: gbar, the batch's mean gradient.
        variance: v, the per-example variance, divided by B - 1.
        batch_size: B >= 2.

    Returns:
        gbar² - v/B, which may be negative, and v/B. Averaged over steps or summed over coordinates,
        their ratio says which one dominates Adam's preconditioner.
    """
    integer_at_least("batch_size", batch_size, 2)
    noise = variance / batch_size
    return mean.square() - noise, noise


def per_example_snr(mean: Tensor, variance: Tensor, batch_size: int, *, debias: bool = True) -> Tensor:
    """Return s = |μ|/σ from one batch's mean and variance. Where both are 0, s is 0.

    Args:
        mean: gbar.
        variance: v, divided by B - 1.
        batch_size: B >= 2.
        debias: Estimate μ² by gbar² - v/B (at least 0). Without it, |gbar|/sqrt(v) cannot fall much
            below 1/sqrt(B), whatever the truth.
    """
    signal, _ = split_batch_square(mean, variance, batch_size)
    squared = signal.clamp_min(0) if debias else mean.square()
    return torch.where(squared == 0, torch.zeros_like(squared), (squared / variance).sqrt())


def sign_snr(s: Tensor) -> Tensor:
    """Return h(s) = erf(x)/sqrt(1 - erf(x)²), x = s/sqrt(2): the SNR of the sign of a Gaussian of SNR s >= 0.

    About 0.798 s for small s, h(s) = s at s = 1.187, h(2) = 3.20, h(3) = 13.6; infinite where the
    dtype ends (s > 53 in float64). Stable for large s: 1 - erf(x) = exp(-x²) erfcx(x).
    """
    x = s / math.sqrt(2)
    upper = torch.special.erfcx(x)
    return torch.erf(x) * torch.exp(x.square() / 2) / (upper * (1 + torch.erf(x))).sqrt()


def predicted_snr(s: Tensor, placement: str, *, batch_size: int, momentum: float, group_size: int = 1) -> Tensor:
    """Return the SNR that the update should end with, if per-example gradients are Gaussian.

    κ sqrt(B/k) h(s sqrt(k)) for "example" with groups of k, κ h(s sqrt(B)) for "batch" and
    h(κ sqrt(B) s) for "ema", κ = sqrt((1 + b)/(1 - b)).

    h(s)/s rises with s, so for one s these never fall from left to right, and are equal as s -> 0.
    Heavy tails and skew change the order: see :mod:`regrad.transforms.resampling` for measured ones.

    Args:
        s: Per-example SNR, >= 0.
        placement: One of ``regrad.transforms.placements.PLACEMENTS``.
        batch_size: B.
        momentum: b in [0, 1).
        group_size: k, for "example"; divides B.
    """
    one_of("placement", placement, PLACEMENTS)
    groups, kappa = group_count(batch_size, group_size), ema_gain(momentum)
    if placement == "example":
        return kappa * math.sqrt(groups) * sign_snr(s * math.sqrt(group_size))
    if placement == "batch":
        return kappa * sign_snr(s * math.sqrt(batch_size))
    return sign_snr(kappa * math.sqrt(batch_size) * s)


def predicted_right_sign(s: Tensor, placement: str, *, batch_size: int, momentum: float, group_size: int = 1) -> Tensor:
    """Return the probability that the update has μ's sign, in [0.5, 1], for Gaussian gradients.

    Φ(κ sqrt(B) s) for "ema", exactly; Φ(:func:`predicted_snr`) for the others, where a long average
    of signs is taken as Gaussian. Arguments as there.
    """
    if placement == "ema":
        in_range("momentum", momentum, 0, 1, open_high=True)
        return torch.special.ndtr(ema_gain(momentum) * math.sqrt(batch_size) * s)
    return torch.special.ndtr(
        predicted_snr(s, placement, batch_size=batch_size, momentum=momentum, group_size=group_size)
    )


def skewness_and_kurtosis(moments: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return skewness and kurtosis (3 for a Gaussian) from the raw moments E[g], E[g²], E[g³], E[g⁴].

    A coordinate without variance gets nan for both. Where E[g]² >> σ² digits are lost: subtract a
    constant near the mean from the gradients first; neither result depends on it.
    """
    m1, m2, m3, m4 = moments
    variance = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return third / variance**1.5, fourth / variance**2


def sample_skewness_and_kurtosis(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return skewness and kurtosis [coords] of per-example gradients [N, coords], centred first."""
    centred = samples - samples.mean(0)
    m2, m3, m4 = (centred.pow(k).mean(0) for k in (2, 3, 4))
    return skewness_and_kurtosis((torch.zeros_like(m2), m2, m3, m4))


def mean_and_median_agree(samples: Tensor) -> Tensor:
    """Return [coords] of bool: whether the mean and the median over examples have one sign.

    For an even N the median is the mean of the middle two. Where they disagree, the mean of signs
    points away from the mean gradient. A sparse coordinate (median 0, mean not 0) disagrees.
    """
    ordered = samples.sort(0).values
    last, upper = len(samples) - 1, len(samples) // 2
    median = ordered[last - upper] + ordered[upper]
    return samples.mean(0).sign() == median.sign()
