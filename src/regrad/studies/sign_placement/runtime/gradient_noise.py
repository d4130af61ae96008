"""Measure per-example gradients along a run, and what they predict for each placement of the sign.

At a few checkpoints the gradients of N training examples are taken one by one at a sample of
coordinates of every parameter tensor. Recorded per tensor: the median signal-to-noise ratio, the
median kurtosis, how often mean and median have one sign, and for each placement the share of
right signs, once by the Gaussian formula and once by resampling the measured gradients.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from regrad.results import Spec
from regrad.runner.measures import Checkpoint
from regrad.transforms.resampling import UpdateQuality, debiased_samples, resampled_update
from regrad.transforms.signal_to_noise import (
    mean_and_median_agree,
    per_example_snr,
    predicted_right_sign,
    sample_skewness_and_kurtosis,
)

CHUNK = 16  # examples whose gradients are in memory at once, whole
SEED = 20_260_101  # of coordinates and resampling; one for all runs, so that these differ in their gradients alone


class GradientNoise:
    """The measurement, taken after the given shares of the run.

    Args:
        examples: N, examples whose gradients are taken one by one, rounded up to whole chunks.
        batch_size: B of the predicted updates.
        momentum: b of the predicted updates.
        groups: Sizes k of the micro-batch rungs.
        coordinates: Coordinates looked at per parameter tensor, at most.
        resamples: Steps of the resampled update.
        shares: When, as shares of the run.
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        momentum: float,
        groups: tuple[int, ...] = (),
        *,
        coordinates: int = 128,
        resamples: int = 400,
        shares: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0),
    ) -> None:
        self.examples, self.coordinates, self.resamples = examples, coordinates, resamples
        self.batch_size, self.momentum = batch_size, momentum
        self.shares = tuple(shares)
        # By the name of the study's arm, which names the curve too: the placement and its group size.
        self.placements: dict[str, tuple[str, int]] = {
            "example": ("example", 1),
            **{f"group-{k}": ("example", k) for k in groups},
            "batch": ("batch", 1),
            "ema": ("ema", 1),
        }

    def wants(self, step: int, spec: Spec) -> bool:
        return step in {round(share * spec.steps) for share in self.shares}

    def __call__(self, checkpoint: Checkpoint) -> dict[str, float]:
        indices = sample_coordinates(checkpoint.model, self.coordinates)
        gradients = self._unseen_gradients(checkpoint, indices)
        updates = self._resampled_updates(gradients)
        # A coordinate of zero mean (a token that did not occur) has no right sign.
        moving = gradients.mean(0) != 0
        values: dict[str, float] = {}
        columns = torch.arange(gradients.shape[1]).split([len(index) for index in indices.values()])
        for parameter, own in zip(indices, columns, strict=True):
            kept = own[moving[own]]
            if len(kept):
                described = self._describe(gradients[:, kept], {arm: u.right_sign[kept] for arm, u in updates.items()})
                values |= {f"noise/{parameter}/{what}": value for what, value in described.items()}
        for arm, update in updates.items():
            values[f"noise/all/resampled_right/{arm}"] = float(update.right_sign[moving].mean())
            values[f"noise/all/rms/{arm}"] = update.rms
        return {key: value for key, value in values.items() if math.isfinite(value)}

    def _unseen_gradients(self, checkpoint: Checkpoint, indices: dict[str, Tensor]) -> Tensor:
        """Gradients [N, coordinates] of training examples from beyond the end of the run: never trained on."""
        model, problem, spec = checkpoint.model, checkpoint.problem, checkpoint.spec
        first = math.ceil((spec.steps + 1) * spec.batch_size / CHUNK)
        batches = (problem.batch(first + k, CHUNK) for k in range(math.ceil(self.examples / CHUNK)))
        return torch.cat([gradients_at(model, problem, batch, indices) for batch in batches])

    def _resampled_updates(self, gradients: Tensor) -> dict[str, UpdateQuality]:
        """What each placement's update does on batches drawn from the gradients, the same batches for each."""
        samples = debiased_samples(gradients)
        return {
            arm: resampled_update(
                samples,
                placement,
                batch_size=self.batch_size,
                momentum=self.momentum,
                group_size=group_size,
                steps=self.resamples,
                generator=torch.Generator().manual_seed(SEED),
            )
            for arm, (placement, group_size) in self.placements.items()
        }

    def _describe(self, gradients: Tensor, right: dict[str, Tensor]) -> dict[str, float]:
        """Numbers of one parameter from its gradients [N, coordinates] and resampled shares of right signs."""
        snr = per_example_snr(gradients.mean(0), gradients.var(0), len(gradients))
        values = {
            "snr": float(snr.median()),
            "kurtosis": float(sample_skewness_and_kurtosis(gradients)[1].nanmedian()),
            "agreement": float(mean_and_median_agree(gradients).double().mean()),
        }
        for arm, (placement, group_size) in self.placements.items():
            formula = predicted_right_sign(
                snr.double(), placement, batch_size=self.batch_size, momentum=self.momentum, group_size=group_size
            )
            values[f"gaussian/{arm}"] = float(formula.mean())
            values[f"resampled/{arm}"] = float(right[arm].mean())
        return values


def sample_coordinates(model: nn.Module, count: int) -> dict[str, Tensor]:
    """Return, per trainable parameter, the flat indices of ``count`` entries (all, if fewer), drawn once."""
    generator = torch.Generator().manual_seed(SEED)
    return {
        name: torch.randperm(p.numel(), generator=generator)[:count]
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def gradients_at(model: nn.Module, problem: Any, batch: Any, indices: dict[str, Tensor]) -> Tensor:
    """Return one batch's per-example gradients [examples, coordinates] at the given entries, on the CPU."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(trial: dict[str, Tensor], example: Any) -> Tensor:
        single = type(batch)(*(part.unsqueeze(0) for part in example))
        return problem.losses(lambda inputs: functional_call(model, trial, (inputs,)), single).squeeze(0)

    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, batch)
    columns = [gradients[name].flatten(1)[:, index.to(gradients[name].device)] for name, index in indices.items()]
    return torch.cat(columns, dim=1).cpu()
