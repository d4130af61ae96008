"""Three small trainings that can be stopped at any step, and what they end with."""

import random
import signal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from regrad.results import Part
from regrad.runner.resume import Keeper
from regrad.runner.train import train
from tiny_runs import spec

STEPS = 17


class Noisy(nn.Module):
    """Buffers that training moves, and draws from all three global generators."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.dropout(self.norm(self.first(x)), 0.5, training=self.training)
        if self.training:
            hidden = hidden * (1 + 0.1 * random.random()) + 0.1 * float(np.random.rand())
        return self.last(hidden)[:, 0]


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0]


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x[:, None]))[:, 0]


class Regression:
    """Squares; batch k follows from k alone, as in every problem."""

    device = torch.device("cpu")

    def batch(self, step: int, size: int) -> Tensor:
        return torch.randn(size, 4, generator=torch.Generator().manual_seed(step))

    def losses(self, model: nn.Module, batch: Tensor) -> Tensor:
        return (model(batch) - batch.sum(1)).square()

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            value = float(self.losses(model, self.batch(10_000, 8)).mean())
        model.train()
        return {"loss": value}


class Training(NamedTuple):
    model: type[nn.Module]
    changes: dict[str, Any]

    def finish(self, keeper: Any = None, problem: Any = None) -> list[Any]:
        """Train to the end; return the curves and the final parameters and buffers, as bytes."""
        torch.set_num_threads(1)  # a forked child must not wait for a pool of threads that it does not have
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        model = self.model()
        chosen = spec(steps=STEPS, batch_size=8, evaluations=3, **self.changes)
        curves, finite = train(chosen, problem or Regression(), model, keeper)
        exported = {name: (curve.x, curve.y) for name, curve in curves.export().items()}
        return [finite, exported, [t.detach().numpy().tobytes() for t in model.state_dict().values()]]


TRAININGS = {
    "buffers, noise, Adam, cosine": Training(
        Noisy,
        {
            "optimizer": Part(name="adam", options={"lr": 0.01}),
            "schedule": {"shape": "cosine", "warmup": 0.2},
        },
    ),
    "SGG in mid-interval": Training(
        Plain,
        {
            "optimizer": Part(
                name="sgg",
                options={"base": {"name": "adamw", "options": {"lr": 0.02}}, "interval": 3},
            )
        },
    ),
    "loss scaler, momentum": Training(
        Convolutions,
        {
            "optimizer": Part(name="sgd", options={"lr": 0.01, "momentum": 0.9}),
            "scaler": Part(name="alsdgc", options={"warmup_steps": 2, "init_threshold": 0.5, "growth_interval": 3}),
        },
    ),
}


class Stopping(Regression):
    """Sends this process a signal while it computes step ``at``."""

    def __init__(self, at: int, number: int = signal.SIGTERM) -> None:
        self.at, self.number = at, number

    def batch(self, step: int, size: int) -> Tensor:
        if step == self.at:
            signal.raise_signal(self.number)
        return super().batch(step, size)


class CrashError(Exception):
    pass


class Crashing(Keeper):
    """Keeps a checkpoint after every step, and dies right after that of step ``at``."""

    def __init__(self, folder: Path, at: int) -> None:
        super().__init__(folder, "run", every=0.0)
        self.at = at

    def after(self, step: int, moving: Any) -> None:
        super().after(step, moving)
        if step == self.at:
            raise CrashError
