"""Per-example gradient norms of a batch of photographs: which picture is odd?"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regrad.perexample.engine import gradient_statistics
from regrad.playground.controls import Choice, Control, Dial, Slider
from regrad.playground.explore import View
from regrad.problems.images import ImageOptions, ImageProblem
from regrad.report.palette import BLUE, RED
from regrad.report.style import PAGE_INCHES, canvas

SIZE, COLUMNS = 24, 8
ALTERED = ("none", "inverted", "noise", "wrong label")
NAMES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


class Seen(NamedTuple):
    """A batch, looked at."""

    pictures: Tensor  # [B, H, W]
    labels: list[int]
    norms: list[float]


def controls(state: Path, values: Mapping[str, Any]) -> Mapping[str, Control]:
    return {
        "batch": Slider(0, 99, 3, whole=True),
        "trained": Dial(("0", "20", "40", "80"), "80"),
        "altered": Choice(ALTERED, "wrong label"),
    }


def network(cache: Path) -> ImageProblem:
    """Return the problem: Fashion-MNIST and a ResNet-8 whose examples do not see each other."""
    options = ImageOptions(depth=8, width=8, norm="group", groups=4, evaluation_examples=100)
    return ImageProblem.from_options(options, cache=cache)


@lru_cache(maxsize=8)
def trained(cache: Path, steps: int) -> torch.nn.Module:
    """Return the network after so many steps of Adam on batches that are not shown."""
    torch.set_num_threads(1)
    problem = network(cache)
    model = problem.init_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        problem.losses(model, problem.batch(1000 + step, 32)).mean().backward()
        optimizer.step()
    return model


def look(cache: Path, batch: int, steps: int, altered: str) -> Seen:
    """Return a batch, its first picture altered, with the norm of each picture's gradient."""
    problem = network(cache)
    examples = problem.batch(batch, SIZE)
    pictures, labels = examples.inputs.clone(), examples.targets.clone()
    if altered == "inverted":
        pictures[0] = pictures[0].max() + pictures[0].min() - pictures[0]
    elif altered == "noise":
        pictures[0] = torch.randn(pictures[0].shape, generator=torch.Generator().manual_seed(0))
    elif altered == "wrong label":
        labels[0] = (labels[0] + 5) % 10
    seen = type(examples)(pictures, labels)
    norms = gradient_statistics(trained(cache, steps), problem.losses, seen, ["norm"])["norm"]
    return Seen(pictures[:, 0], labels.tolist(), norms.tolist())


def draw(state: Path, *, batch: int, trained: str, altered: str) -> View:
    """Return the pictures from the largest norm to the smallest; a red frame marks the one that was altered."""
    seen = look(state, batch, int(trained), altered)
    order = sorted(range(SIZE), key=lambda k: -seen.norms[k])
    with canvas(nrows=SIZE // COLUMNS, ncols=COLUMNS, width=PAGE_INCHES, height=3.3) as (figure, axes):
        for axis, k in zip(axes.flat, order, strict=True):
            axis.imshow(seen.pictures[k].numpy(), cmap="gray_r")
            axis.set(xticks=[], yticks=[])
            color = RED if k == 0 and altered != "none" else BLUE
            axis.set_title(f"{NAMES[seen.labels[k]]}\n{seen.norms[k]:.2g}", fontsize=6, color=color)
            for side in axis.spines.values():
                side.set(visible=True, color=color, linewidth=2.5 if color == RED else 0.5)
    typical = sorted(seen.norms)[SIZE // 2]
    text = f"The largest norm is {seen.norms[order[0]] / typical:.1f} times the middle one."
    place = order.index(0) + 1
    return View(figure, text if altered == "none" else f"{text} The altered picture is number {place} of {SIZE}.")
