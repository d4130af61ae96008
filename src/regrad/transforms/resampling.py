"""Acts on: the per-example gradients. What each placement of the sign would do on measured ones.

The closed forms of ``signal_to_noise`` assume Gaussian gradients. Here batches are drawn from the
gradients themselves, frozen at one checkpoint, and run through the very update of ``SignSGD``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regrad.transforms.checks import in_range, integer_at_least, one_of
from regrad.transforms.placements import PLACEMENTS, group_count
from regrad.transforms.sign import sign_direction


@dataclass(frozen=True)
class UpdateQuality:
    """How an update compares with the sign of the mean gradient μ of all examples."""

    right_sign: Tensor  # [coords], the share of steps in which the update has μ's sign, in [0, 1]
    # [coords], mean of the update over its standard deviation, times sign(μ): negative where the update converges to
    # the wrong sign, ±inf where it never varies, 0 where it is 0 on average. Where μ is exactly 0 (a token that did not
    # occur), not to move is right and snr is 0: leave such coordinates out of averages.
    snr: Tensor
    rms: float  # root-mean-square update over coordinates and steps, before the learning rate


def batch_gradient(examples: Tensor, placement: str, group_size: int = 1) -> Tensor:
    """Return what ``SignSGD`` is to find in ``p.grad`` [coords] for a batch of gradients [B, coords].

    The mean over groups of ``group_size`` examples of the sign of the group's mean for "example",
    the mean gradient for the others.
    """
    if placement != "example":
        return examples.mean(0)
    return examples.unflatten(0, (-1, group_size)).mean(1).sign().mean(0)


def resampled_update(
    samples: Tensor,
    placement: str,
    *,
    batch_size: int,
    momentum: float,
    generator: torch.Generator,
    group_size: int = 1,
    steps: int = 2000,
) -> UpdateQuality:
    """Run one placement for ``steps`` steps on batches drawn from measured per-example gradients.

    Examples are drawn with replacement, so N may be below B; the parameter does not move. The
    average first forgets its start (to 0.1 %); those steps are not counted.

    Args:
        samples: [N, coords] per-example gradients, not divided by N.
        placement: One of ``regrad.transforms.placements.PLACEMENTS``.
        batch_size: B.
        momentum: b in [0, 1).
        generator: Source of the draws, on the CPU; the same seed draws the same batches for
            every placement.
        group_size: k, for "example"; divides B.
        steps: Steps counted; about steps/κ_b² of them are independent.

    Raises:
        ValueError: If an argument is out of range or ``samples`` is empty or not [N, coords].
    """
    one_of("placement", placement, PLACEMENTS)
    in_range("momentum", momentum, 0, 1, open_high=True)
    integer_at_least("steps", steps, 2)
    group_count(batch_size, group_size)
    if samples.dim() != 2 or len(samples) == 0:
        raise ValueError(f"samples must be [N, coords] with N >= 1, got shape {list(samples.shape)}")
    target = samples.mean(0).sign()
    average = torch.zeros_like(target) if momentum else None
    warm_up = math.ceil(math.log(1e-3) / math.log(momentum)) if momentum else 0
    right, total, square = (torch.zeros_like(target) for _ in range(3))
    for step in range(warm_up + steps):
        drawn = torch.randint(len(samples), (batch_size,), generator=generator).to(samples.device)
        grad = batch_gradient(samples[drawn], placement, group_size)
        update = sign_direction(grad, average, momentum=momentum, placement=placement)
        if step >= warm_up:
            right += update.sign() == target
            total += update
            square += update.square()
    return _quality(right / steps, total / steps * target, square / steps)


def _quality(right: Tensor, mean: Tensor, square: Tensor) -> UpdateQuality:
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    return UpdateQuality(right, torch.where(mean == 0, mean, mean / deviation), float(square.mean().sqrt()))


def debiased_samples(samples: Tensor) -> Tensor:
    """Return [N, coords] shifted to the mean that N samples support: ±sqrt(max(gbar² - v/N, 0)).

    Resampling takes the samples' mean for the truth. From noise alone that mean is about sigma/sqrt(N),
    which a batch and a moving average would then see as a signal. Exact zeros (tokens that an
    example does not have) stay zeros: only the other entries are shifted.
    """
    mean, present = samples.mean(0), samples != 0
    signal = (mean.square() - samples.var(0) / len(samples)).clamp_min(0).sqrt() * mean.sign()
    share = present.to(samples.dtype).mean(0).clamp_min(1 / len(samples))
    return samples - present * ((mean - signal) / share)
