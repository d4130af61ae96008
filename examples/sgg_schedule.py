"""SGG around AdamW with a learning-rate schedule, saved in the middle and gone on from.

    python examples/sgg_schedule.py --steps 300

The scheduler belongs on the wrapper. A checkpoint of the wrapper holds the base optimizer's state, too.
"""

import argparse
import io

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from regrad import SGG


def rings(number: int) -> tuple[Tensor, Tensor]:
    """Return points on three rings, and which ring each lies on."""
    ring = torch.randint(3, (number,))
    angle = 6.2832 * torch.rand(number)
    radius = 1.0 + ring + 0.2 * torch.randn(number)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), ring


def made(steps: int) -> tuple[nn.Module, SGG, OneCycleLR]:
    model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = SGG(torch.optim.AdamW(model.parameters(), lr=1e-2), clusters=3, interval=20)
    return model, optimizer, OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps + 1)


def train(model: nn.Module, optimizer: SGG, schedule: OneCycleLR, steps: range) -> None:
    for step in steps:
        points, ring = rings(128)
        loss = functional.cross_entropy(model(points), ring)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            rate = schedule.get_last_lr()[0]
            print(f"step {step:4d}  loss {loss.item():.3f}  rate {rate:.4f}  mean scale {optimizer.mean_scale():.3f}")


def main(steps: int) -> float:
    """Train in two halves with a checkpoint between them; return the share of points that are right."""
    torch.manual_seed(0)
    model, optimizer, schedule = made(steps)
    train(model, optimizer, schedule, range(steps // 2))
    saved = io.BytesIO()
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    torch.save({name: part.state_dict() for name, part in parts.items()}, saved)

    saved.seek(0)
    state = torch.load(saved)
    model, optimizer, schedule = made(steps)
    for name, part in {"model": model, "optimizer": optimizer, "schedule": schedule}.items():
        part.load_state_dict(state[name])
    train(model, optimizer, schedule, range(steps // 2, steps))
    points, ring = rings(2000)
    right = (model(points).argmax(1) == ring).float().mean().item()
    print(f"{right:.1%} of new points are on the ring that the network says")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    main(parser.parse_args().steps)
