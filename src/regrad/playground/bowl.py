"""DGS's readings on a bowl of two dimensions: one document, seven paths."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regrad.optim.dgs import DGS
from regrad.playground.controls import Choice, Control, Slider
from regrad.playground.explore import View
from regrad.report.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from regrad.report.style import PAGE_INCHES, canvas
from regrad.transforms.dgs import READINGS

COLORS = dict(zip(READINGS, (BLUE, SKY, GREEN, BLACK, PINK, ORANGE, RED), strict=True))
ALL = "all seven"


def controls(state: None, values: Mapping[str, Any]) -> Mapping[str, Control]:
    return {
        "reading": Choice((ALL, *READINGS)),
        "rate": Slider(0.001, 1.0, 0.05, log=True),
        "condition": Slider(1.0, 100.0, 10.0, log=True),
        "angle": Slider(0.0, 90.0, 35.0, step=1.0),
        "steps": Slider(10, 200, 60, step=10, whole=True),
    }


def descend(reading: str, start: Tensor, curvature: Tensor, rate: float, steps: int) -> list[list[float]]:
    """Return the points of a descent; each coordinate is a tensor of its own, as the readings tell tensors apart."""
    x, y = (torch.nn.Parameter(value.clone().reshape(1)) for value in start)
    optimizer = DGS([x, y], lr=rate, reading=reading)
    path = [[x.item(), y.item()]]
    for _ in range(steps):
        optimizer.zero_grad()
        ((curvature[0] * x.square() + curvature[1] * y.square()) / 2).sum().backward()
        optimizer.step()
        path.append([x.item(), y.item()])
        if not all(map(math.isfinite, path[-1])):
            return path[:-1]
    return path


def draw(state: None, *, reading: str, rate: float, condition: float, angle: float, steps: int) -> View:
    """Return the paths in the bowl, and the loss along them."""
    curvature = torch.tensor([1.0, condition], dtype=torch.float64)
    turn = math.radians(angle)
    start = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    chosen = READINGS if reading == ALL else (reading,)
    paths = {name: np.array(descend(name, start, curvature, rate, steps)) for name in chosen}
    grid = np.meshgrid(np.linspace(-1.2, 1.2, 80), np.linspace(-1.2, 1.2, 80))
    with canvas(ncols=2, width=PAGE_INCHES, height=3.0) as (figure, (left, right)):
        left.contour(*grid, np.sqrt(grid[0] ** 2 + condition * grid[1] ** 2), levels=10, colors=GREY, linewidths=0.3)
        # Thinner from reading to reading, so that those that coincide are seen beneath one another.
        for place, (name, path) in enumerate(paths.items()):
            look = {"color": COLORS[name], "lw": 3.0 - 0.35 * place}
            left.plot(*path.T, **look)
            loss = (path**2 @ np.array([1.0, condition])) / 2
            right.plot(np.maximum(loss, 1e-12), **look, label=name)
        left.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal", title="paths in the bowl")
        right.set(yscale="log", xlabel="steps", title="loss")
        right.legend()
    ends = {name: float((path[-1] ** 2 @ np.array([1.0, condition])) / 2) for name, path in paths.items()}
    return View(figure, "Loss at the end: " + ", ".join(f"{name} {loss:.2g}" for name, loss in ends.items()) + ".")
