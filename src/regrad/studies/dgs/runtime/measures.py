"""What the runs of the DGS study record: spikes per image, and the readings' geometry on a real gradient."""

import copy

import numpy as np
import torch
from torch import Tensor

from regrad.problems.models.spiking import SpikingResNet, spikes_per_image
from regrad.results import Spec
from regrad.runner.measures import Checkpoint
from regrad.transforms.dgs import READINGS, dgs_updates
from regrad.transforms.dgs_geometry import cosine, log_slope


class Spikes:
    """Mean spikes per image, in thousands, over test images at the end of the run.

    Args:
        examples: Test images, the first of the split.
    """

    def __init__(self, examples: int = 200) -> None:
        self.examples = examples

    def wants(self, step: int, spec: Spec) -> bool:
        return step == spec.steps

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return "test_spikes", in thousands per image, all neurons and time steps together.

        Raises:
            TypeError: The model has no spikes.
        """
        if not isinstance(at.model, SpikingResNet):
            raise TypeError(f"spikes: {type(at.model).__name__} has none; allowed: SpikingResNet")
        first = np.arange(min(self.examples, at.problem.size("test")))
        images = at.problem.examples("test", first).inputs
        return {"test_spikes": float(spikes_per_image(at.model, images).double().mean()) / 1000}


class ReadingGeometry:
    """What each reading of DGS would do to the gradient of the next batch; nothing is changed.

    Recorded are ``cosine/<reading>``, between update and gradient, and ``slope/<reading>``, of log |update|
    on log |gradient| over the entries whose gradient is not zero.

    Args:
        shares: When, as shares of the run.
    """

    def __init__(self, shares: tuple[float, ...] = (0.0, 0.5, 1.0)) -> None:
        self.shares = tuple(shares)

    def wants(self, step: int, spec: Spec) -> bool:
        return step in {round(share * spec.steps) for share in self.shares}

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        grads = next_gradient(at)
        entries = flat(grads)
        geometry = {}
        for reading in READINGS:
            updates = dgs_updates(grads, reading, lr=1.0, eps=1e-8)
            sizes = flat(updates)
            # An update may underflow to zero where its gradient does not, and has no logarithm either.
            moved = (entries != 0) & (sizes != 0)
            geometry[f"cosine/{reading}"] = cosine(updates, grads)
            geometry[f"slope/{reading}"] = log_slope(entries[moved].abs().tolist(), sizes[moved].abs().tolist())
        return geometry


def next_gradient(at: Checkpoint) -> list[Tensor]:
    """Return the gradient, in float64, of the mean loss on a batch that the run does not train on."""
    model = copy.deepcopy(at.model)  # BatchNorm's running statistics must not see this batch
    batch = at.problem.batch(at.spec.steps, at.spec.batch_size)
    at.problem.losses(model, batch).mean().backward()
    return [p.grad.double() for p in model.parameters() if p.grad is not None]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
