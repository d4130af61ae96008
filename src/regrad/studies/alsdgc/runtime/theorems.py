"""What ALSDGC's printed rules do to given gradient norms, as lists of numbers for a figure; needs no run."""

from typing import Any

RATES = (1e-1, 1e-2, 1e-3)
NORM = 1.5  # as in the document's example
LARGEST = 1000.0


def theorem_curves(steps: int = 200) -> dict[str, Any]:
    """Return scale, thresholds and their resting points, multipliers, Adam's steps and overflows, by step."""
    import torch  # not above: where the curves are published, a notebook reads them without torch

    from regrad.scaling import simulate

    norms = (NORM * torch.exp(0.5 * torch.randn(steps, generator=torch.Generator().manual_seed(0)))).tolist()
    unscaled = {lr: simulate.literal_path(norms, lr, unscale=True) for lr in RATES}
    literal = {lr: simulate.literal_path([NORM] * steps, lr) for lr in RATES}
    return {
        "scale": simulate.scale_clock(steps - 1),
        "threshold": {lr: path.threshold for lr, path in unscaled.items()},
        "rest": {lr: simulate.threshold_fixed_point(norms, lr) for lr in RATES},
        "arrival": {lr: simulate.steps_to_fixed_point(NORM, lr) for lr in RATES},
        "multiplier": {lr: path.multiplier for lr, path in literal.items()},
        "clips": {lr: path.clip_rate(steps // 2) for lr, path in unscaled.items()},
        "adam": simulate.adam_step_sizes(steps),
        "adam_limit": simulate.adam_step_limit(),
        "overflow": simulate.overflow_path(steps, LARGEST),
        "overflow_interval": simulate.overflow_path(steps, LARGEST, growth_interval=2000),
    }
