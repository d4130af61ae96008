"""Whether an optimizer may step on its gradients: measured, clipped if need be, refused where not finite.

Acts on: the gradient, before the base step.
"""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from regrad.scaling.controller import Clip, StepOutcome
from regrad.scaling.gradients import read_numbers
from regrad.scaling.variants import Rung, Settings


@dataclass
class Visit:
    """One optimizer's passage between two calls of ``update``; ``outcome`` stays None without gradients."""

    clip: Clip
    found_inf: Tensor | float = 0.0
    stepped: bool = False
    outcome: StepOutcome | None = None


def admit_(
    grads: list[Tensor], visit: Visit, optimizer: Optimizer, *, given: tuple[Rung, Settings, list[Tensor]]
) -> tuple[bool, float]:
    """Clip the gradients if need be; return whether the optimizer may step on them, and the iteration's loss.

    Args:
        grads: The optimizer's gradients, at least one.
        visit: Its passage; gets the outcome.
        optimizer: The optimizer.
        given: Rules, constants and the losses watched.
    """
    rung, settings, watched = given
    total_norm = get_total_norm(grads, settings.norm_type)
    lr = 0.0 if rung.averages_norms else optimizer.param_groups[0]["lr"]
    found_inf, norm, lr, *losses = read_numbers([visit.found_inf, total_norm, lr, *watched])
    loss = sum(losses) / len(losses) if losses else math.nan
    clip = visit.clip
    visit.outcome = StepOutcome(clip, rung.skips_overflows and found_inf > 0, lr)
    clip.steps += 1
    if visit.outcome.overflowed:
        clip.skipped += 1
        return False, loss
    clip.norm = norm
    # A nan norm clips nothing, as printed. Rounding decides near the threshold, hence on the device:
    # there the coefficient is float32 and capped at 1, so a call too many changes no bit.
    if clip.threshold / (norm + 1e-6) < 1.0 + 1e-6:
        clip.clipped += int(norm > clip.threshold)
        params = (p for group in optimizer.param_groups for p in group["params"])
        clip_grads_with_norm_(params, clip.threshold, total_norm)
    return True, loss
