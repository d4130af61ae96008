"""Where the sign goes, on a noisy quadratic: three places of the sign, and what signal to noise predicts."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from regrad.optim.sign_sgd import SignSGD
from regrad.playground.controls import Control, Dial, Slider, Switch
from regrad.playground.explore import View
from regrad.report.palette import BLUE, GREEN, ORANGE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.transforms.placements import PLACEMENTS, noise_limited_update_rms
from regrad.transforms.signal_to_noise import predicted_right_sign

COORDINATES, STEPS, SEED = 64, 150, 0
LOOKS = dict(zip(PLACEMENTS, ((ORANGE, "each example"), (GREEN, "batch mean"), (BLUE, "moving average")), strict=True))
PLACES = torch.logspace(-3, 1, 200, dtype=torch.float64)


def controls(state: None, values: Mapping[str, Any]) -> Mapping[str, Control]:
    return {
        "noise": Slider(0.01, 100.0, 3.0, log=True),
        "batch_size": Dial(("1", "2", "4", "8", "16", "32", "64"), "16"),
        "momentum": Slider(0.0, 0.99, 0.9, step=0.01),
        "rate": Slider(0.001, 1.0, 0.03, log=True),
        "skewed": Switch(),
    }


def example_noise(skewed: bool, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return noise of mean 0 and deviation 1: Gaussian, or exponential, whose median has the other sign."""
    if not skewed:
        return torch.randn(size, generator=generator, dtype=torch.float64)
    return torch.empty(size, dtype=torch.float64).exponential_(generator=generator) - 1.0


def descend(
    placement: str, *, noise: float, batch_size: int, momentum: float, rate: float, skewed: bool
) -> list[float]:
    """Return the loss Σ h θ² / 2 after each step, h from 0.01 to 1; the step is as long at every placement."""
    generator = torch.Generator().manual_seed(SEED)
    curvature = torch.logspace(-2, 0, COORDINATES, dtype=torch.float64)
    theta = torch.nn.Parameter(torch.ones(COORDINATES, dtype=torch.float64))
    length = noise_limited_update_rms(placement, momentum=momentum, batch_size=batch_size)
    optimizer = SignSGD([theta], lr=rate / length, momentum=momentum, placement=placement)
    losses = []
    for _ in range(STEPS):
        losses.append(float((curvature * theta.detach().square()).sum() / 2))
        drawn = example_noise(skewed, (batch_size, COORDINATES), generator)
        gradients = curvature * theta.detach() + noise * drawn
        theta.grad = (gradients.sign() if placement == "example" else gradients).mean(0)
        optimizer.step()
    return losses


def draw(state: None, *, batch_size: str, skewed: bool, **values: float) -> View:
    """Return the losses of the three placements, and how often each should find the right sign."""
    batch, momentum = int(batch_size), values["momentum"]
    losses = {p: descend(p, batch_size=batch, skewed=skewed, **values) for p in PLACEMENTS}  # type: ignore[arg-type]
    signal = 1.0 / values["noise"] if values["noise"] else 10.0
    right = {p: predicted_right_sign(PLACES, p, batch_size=batch, momentum=momentum) for p in PLACEMENTS}
    with canvas(ncols=2, width=PAGE_INCHES, height=2.8) as (figure, (left, axis)):
        for placement, (color, label) in LOOKS.items():
            left.plot(losses[placement], color=color, label=f"sign of {label}")
            axis.plot(PLACES.numpy(), 100 * right[placement].numpy(), color=color)
        left.set(yscale="log", xlabel="steps", ylabel="loss", title="a noisy quadratic")
        left.legend()
        axis.axvspan(0.01 * signal, signal, color="#E9EDF2", lw=0, label="coordinates at the start")
        axis.set(xscale="log", xlim=(1e-3, 10), xlabel="signal to noise of one example, |μ|/σ")
        axis.set(ylabel="updates with the right sign (%)", title="predicted, for Gaussian noise")
        axis.legend(loc="lower right")
    ends = ", ".join(f"{LOOKS[p][1]} {losses[p][-1]:.3g}" for p in sorted(PLACEMENTS, key=lambda p: losses[p][-1]))
    return View(figure, f"Loss after {STEPS} steps, lowest first: {ends}.")
