"""SGG's clusters forming: a small network on scikit-learn's digits, and S next to that of the public code."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from regrad.optim.sgg import SGG
from regrad.playground.controls import Control, Dial, Slider
from regrad.playground.explore import View
from regrad.report.marks import DASHED
from regrad.report.palette import BLUE, GREEN, ORANGE, PINK, RED, SKY
from regrad.report.style import PAGE_INCHES, canvas

COLORS = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
PAPER, PUBLIC = "paper", "public_v2"


class Trained(NamedTuple):
    """What a run leaves for the picture."""

    scales: list[tuple[int, list[float]]]  # S of the first layer after each recluster, by step
    momentum: Tensor  # |m| of the first layer's entries, at the end
    cluster: Tensor  # their clusters
    loss: float


def controls(state: None, values: Mapping[str, Any]) -> Mapping[str, Control]:
    return {
        "clusters": Slider(2, 6, 3, whole=True),
        "interval": Dial(("5", "10", "20", "50", "100"), "20"),
        "beta3": Slider(0.0, 1.0, 0.9, step=0.01),
        "steps": Slider(100, 300, 200, step=50, whole=True),
    }


def examples() -> tuple[Tensor, Tensor]:
    """Return 1797 pictures of 8 by 8 points [N, 64], and the digits they show [N]."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    return torch.tensor(pictures / 16.0, dtype=torch.float32), torch.tensor(labels)


def train(variant: str, *, clusters: int, interval: int, beta3: float, steps: int) -> Trained:
    """Train 64-20-10 by SGG around AdamW, from the same weights on the same data for every setting."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(64, 20)
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(20, 10))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.15 * torch.randn(weight.shape, generator=generator))
    first = layer.weight
    adamw = torch.optim.AdamW(model.parameters(), lr=3e-3)
    optimizer = SGG(adamw, clusters=clusters, interval=interval, beta3=beta3, variant=variant)
    pictures, labels = examples()
    scales = []
    for step in range(1, steps + 1):
        places = torch.randint(len(labels), (32,), generator=generator)
        optimizer.zero_grad()
        loss = cross_entropy(model(pictures[places]), labels[places])
        loss.backward()
        optimizer.step()
        if step % interval == 0:
            scales.append((step, optimizer.state[first]["scale"].tolist()))
    state = optimizer.state[first]
    if "index" not in state:
        raise ValueError(f"interval = {interval}: no recluster in {steps} steps; allowed: at most as many as steps")
    momentum = adamw.state[first]["exp_avg"].abs().flatten()
    return Trained(scales, momentum, state["index"].flatten().long(), float(loss.detach()))


def draw(state: None, *, clusters: int, interval: str, beta3: float, steps: int) -> View:
    """Return the clusters of |m|, and S over the reclusters by the paper's rule and by the public code's."""
    settings: dict[str, Any] = {"clusters": clusters, "interval": int(interval), "beta3": beta3, "steps": steps}
    found = {variant: train(variant, **settings) for variant in (PAPER, PUBLIC)}
    paper = found[PAPER]
    with canvas(ncols=3, width=PAGE_INCHES, height=2.6, width_ratios=(1.3, 1, 1)) as (figure, axes):
        order = paper.momentum.clamp_min(1e-7).log10()
        parts = [order[paper.cluster == k].tolist() for k in range(clusters)]
        axes[0].hist(parts, bins=40, stacked=True, color=COLORS[:clusters])
        axes[0].set(xlabel="log₁₀ |m| of an entry of the first layer", ylabel="entries", title="clusters, at the end")
        for axis, variant in zip(axes[1:], found, strict=True):
            for k in range(clusters):
                steps_of = [step for step, _ in found[variant].scales]
                axis.plot(steps_of, [s[k] for _, s in found[variant].scales], color=COLORS[k], marker="o", ms=2)
            axis.axhline(1, **DASHED)
            axis.set(xlabel="steps", title={PAPER: "S, the paper's rule", PUBLIC: "S, the public code's"}[variant])
        axes[1].set_ylabel("scale of a cluster")
    sizes = ", ".join(str(len(part)) for part in parts)
    ends = ", ".join(f"{scale:.2f}" for scale in paper.scales[-1][1])
    losses = " and ".join(f"{found[v].loss:.3f}" for v in found)
    return View(
        figure, f"Sizes {sizes}; scales {ends}. Loss of the last batch, paper's rule and public code's: {losses}."
    )
