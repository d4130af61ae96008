"""Draw the manual's pictures from the library itself: python docs/manual/pictures/draw.py."""

from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt

from regrad.optim.dgs import DGS
from regrad.optim.sgg import SGG
from regrad.scaling.alsdgc import ALSDGC

FOLDER = Path(__file__).parent
BLUE, ORANGE, GREY, GREEN = "#2a6fb0", "#c8641e", "#777777", "#3a8f4d"
matplotlib.rcParams |= {
    "svg.hashsalt": "regrad", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "figure.figsize": (4.6, 2.3), "figure.constrained_layout.use": True,
}  # fmt: skip


def save(name: str) -> None:
    plt.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, facecolor="white")
    plt.close()


def micro_adam() -> None:
    """Average the squares of Gaussian gradients (μ = 0.2, σ = 1) over batches of several sizes, both ways."""
    sizes, random = [2**k for k in range(9)], torch.Generator().manual_seed(0)
    draws = {b: 0.2 + torch.randn(2000, b, generator=random) for b in sizes}
    plt.plot(sizes, [draws[b].mean(1).square().mean() for b in sizes], "o-", color=ORANGE, label="Adam: ḡ²")
    plt.plot(sizes, [draws[b].square().mean() for b in sizes], "s-", color=BLUE, label="MicroAdam: mean of g²")
    plt.xscale("log", base=2)
    plt.yscale("log")
    plt.xlabel("batch size")
    plt.ylabel("ν")
    plt.legend(frameon=False)
    save("micro_adam")


def sign_sgd() -> None:
    """Step three placements on the same noisy gradient of one coordinate."""
    random = torch.Generator().manual_seed(0)
    gradients = 0.3 + torch.randn(80, 16, generator=random)
    averages = {"example": 0.0, "batch": 0.0, "ema": 0.0}
    lines: dict[str, list[float]] = {name: [] for name in averages}
    for g in gradients:
        for name, z in (("example", g.sign().mean()), ("batch", g.mean().sign()), ("ema", g.mean())):
            averages[name] = 0.9 * averages[name] + 0.1 * float(z)
            lines[name].append(averages[name] if name != "ema" else float(torch.tensor(averages[name]).sign()))
    for (name, line), colour in zip(lines.items(), (GREEN, BLUE, ORANGE), strict=True):
        plt.plot(line, color=colour, label=name)
    plt.xlabel("step")
    plt.ylabel("update / lr")
    plt.legend(frameon=False, ncol=3, loc="lower right")
    save("sign_sgd")


def sgg() -> None:
    """Group the momentum of one heavy-tailed tensor."""
    random = torch.Generator().manual_seed(0)
    p = torch.nn.Parameter(torch.zeros(64, 64))
    optimizer = SGG(torch.optim.AdamW([p]), interval=1, beta3=0.0)
    p.grad = torch.randn(64, 64, generator=random) * torch.rand(64, 64, generator=random).square()
    optimizer.step()
    momentum = optimizer.base.state[p]["exp_avg"].abs().flatten()
    index, scale = optimizer.state[p]["index"].flatten(), optimizer.state[p]["scale"]
    edges = torch.linspace(0, float(momentum.quantile(0.995)), 60)
    for cluster, colour in enumerate((BLUE, GREEN, ORANGE)):
        label = f"cluster {cluster + 1}: S = {float(scale[cluster]):.2f}"
        plt.hist(momentum[index == cluster].numpy(), bins=edges.numpy(), color=colour, label=label)
    plt.yscale("log")
    plt.xlabel("|m| of an entry")
    plt.ylabel("entries")
    plt.legend(frameon=False)
    save("sgg")


def alsdgc() -> None:
    """Feed norms that fall, with a spike, and read the threshold."""
    p = torch.nn.Parameter(torch.zeros(()))
    optimizer, scaler = torch.optim.SGD([p], lr=0.0), ALSDGC("V3", init_scale=1.0, warmup_steps=20)
    random = torch.Generator().manual_seed(0)
    norms, thresholds = [], []
    for step in range(200):
        slope = (2.0 * 0.99**step + 0.3) * (0.8 + 0.4 * float(torch.rand((), generator=random)))
        norms.append(slope * (6 if step in (90, 91) else 1))
        thresholds.append(scaler.get_threshold(optimizer))
        scaler.scale(torch.ones(()))
        p.grad = torch.tensor(norms[-1])
        scaler.step(optimizer)
        scaler.update()
    plt.plot(norms, color=GREY, label="norm of the gradient")
    plt.plot(thresholds, color=BLUE, label="threshold")
    plt.xlabel("step")
    plt.legend(frameon=False)
    save("alsdgc")


def dgs() -> None:
    """Step two readings on gradients of every size."""
    gradient = torch.linspace(-3, 3, 121)
    readings = (("equation", "equation (E1)", ORANGE), ("steps", "four steps (S1)", BLUE))
    for reading, label, colour in readings:
        p = torch.nn.Parameter(torch.zeros(121))
        p.grad = gradient.clone()
        DGS([p], lr=1.0, reading=reading, eps=0.1).step()
        plt.plot(gradient, -p.detach(), color=colour, label=label)
    plt.xlabel("gradient of an entry")
    plt.ylabel("update / lr")
    plt.legend(frameon=False)
    save("dgs")


if __name__ == "__main__":
    for draw in (micro_adam, sign_sgd, sgg, alsdgc, dgs):
        draw()
