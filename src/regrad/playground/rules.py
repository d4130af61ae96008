"""ALSDGC's printed rules on a norm trace that you draw: eight points, and the scale, threshold and rate that follow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from regrad.playground.controls import Control, Slider, Switch
from regrad.playground.explore import View
from regrad.report.marks import DASHED
from regrad.report.palette import BLUE, GREY, ORANGE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.scaling.simulate import literal_path

POINTS, STEPS = 8, 120
START = (1.0, 0.6, 0.4, 0.3, 3.0, 0.3, 0.25, 0.2)  # a loss that falls, with a spike


def controls(state: None, values: Mapping[str, Any]) -> Mapping[str, Control]:
    trace = {f"norm_{k}": Slider(0.01, 100.0, START[k - 1], log=True) for k in range(1, POINTS + 1)}
    return {**trace, "rate": Slider(0.001, 1.0, 0.5, log=True), "unscale": Switch()}


def trace(points: list[float]) -> list[float]:
    """Return a norm a step: straight lines between the points, in logarithms."""
    places = np.linspace(0, STEPS - 1, len(points))
    return [float(v) for v in np.exp(np.interp(np.arange(STEPS), places, np.log(points)))]


def draw(state: None, *, rate: float, unscale: bool, **points: float) -> View:
    """Return the norms, what the printed rules make of scale and threshold, and the rate that SGD then has."""
    norms = trace([points[f"norm_{k}"] for k in range(1, POINTS + 1)])
    path = literal_path(norms, rate, unscale=unscale)
    with canvas(ncols=3, width=PAGE_INCHES, height=2.5) as (figure, axes):
        axes[0].plot(norms, color=GREY)
        axes[0].set(title="gradient norm, as you drew it")
        axes[1].plot(path.scale, color=BLUE, label="loss scale s")
        axes[1].plot(path.threshold, color=ORANGE, label="threshold θ")
        axes[1].legend()
        axes[1].set(title="what the rules do")
        axes[2].plot(path.multiplier, color=BLUE)
        axes[2].axhline(1, **DASHED)
        axes[2].set(title="learning rate, times")
        for axis in axes:
            axis.set(yscale="log", xlabel="steps")
    clipped, low, high = path.clip_rate(), min(path.multiplier), max(path.multiplier)
    return View(figure, f"Clipped at {100 * clipped:.0f} % of the steps; the rate in effect is {low:.3g} to {high:.3g} "
                "times the one that was set. The scale is a clock: it doubles whatever you draw.")  # fmt: skip
