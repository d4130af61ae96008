"""ALSDGC in place of GradScaler: float16 autocast, loss scale and clipping threshold in one object.

    python examples/alsdgc_autocast.py --steps 300

The four calls are GradScaler's. The scale backs off after an overflow, which the first steps provoke here by a
scale that is too large.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

from regrad import ALSDGC


def main(steps: int) -> dict[str, float]:
    """Train a small regression under autocast; return the scaler's last readings and the loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scaler = ALSDGC("V4", init_scale=2.0**16, warmup_steps=20)
    for step in range(steps):
        x = torch.randn(64, 8)
        y = 20 * x[:, :4].sum(1, keepdim=True).tanh()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = functional.mse_loss(model(x).float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)  # unscales, clips, and skips a step that overflowed
        scaler.update()
        if step % 50 == 0 or step == steps - 1:
            now = scaler.readings(optimizer)
            print(
                f"step {step:4d}  loss {loss.item():8.3f}  scale {now['scale']:7.0f}  threshold {now['threshold']:8.2f}"
                f"  norm {now['norm']:8.2f}  clipped {now['clipped']}  skipped {now['skipped']}"
            )
    return scaler.readings(optimizer) | {"loss": loss.item()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    main(parser.parse_args().steps)
