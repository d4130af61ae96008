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

CHUNK = 16
STREAM = 20_260_101  # seed of the coordinate sample and of the resampling: the same in every run


class GradientNoise:
    """The measurement, taken after the given shares of the run.

    Args:
        examples: N, examples whose gradients are taken one by one; training examples the run has not seen.
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
        self.update = {"batch_size": batch_size, "momentum": momentum}
        self.shares = tuple(shares)
        self.placements: dict[str, tuple[str, int]] = {"example": ("example", 1)}
        self.placements |= {f"group-{k}": ("example", k) for k in groups}
        self.placements |= {"batch": ("batch", 1), "ema": ("ema", 1)}

    def wants(self, step: int, spec: Spec) -> bool:
        """Whether this is one of the checkpoints."""
        return step in {round(share * spec.steps) for share in self.shares}

    def __call__(self, at: Checkpoint) -> dict[str, float]:
        """Return the measurements of one checkpoint, by ``noise/<parameter>/<what>``."""
        model, problem, spec = at.model, at.problem, at.spec
        # Batches of CHUNK examples from beyond the end of the run: never trained on before.
        first = math.ceil((spec.steps + 1) * spec.batch_size / CHUNK)
        batches = (problem.batch(first + k, CHUNK) for k in range(math.ceil(self.examples / CHUNK)))
        chosen = sample_coordinates(model, self.coordinates)
        samples = torch.cat([gradients_at(model, problem, batch, chosen) for batch in batches])
        sizes = [len(index) for index in chosen.values()]
        fair = debiased_samples(samples)
        resampled = {name: self._resample(fair, name) for name in self.placements}
        values: dict[str, float] = {}
        for name, columns in zip(chosen, torch.arange(sum(sizes)).split(sizes), strict=True):
            values |= self._describe(f"noise/{name}", samples[:, columns], resampled, columns)
        for name, quality in resampled.items():
            # A coordinate of zero mean (a token that did not occur) has no right sign.
            moving = samples.mean(0) != 0
            values[f"noise/all/resampled_right/{name}"] = float(quality.right_sign[moving].mean())
            values[f"noise/all/rms/{name}"] = quality.rms
        return {key: value for key, value in values.items() if math.isfinite(value)}

    def _resample(self, samples: Tensor, name: str) -> UpdateQuality:
        placement, group_size = self.placements[name]
        return resampled_update(
            samples,
            placement,
            group_size=group_size,
            steps=self.resamples,
            generator=torch.Generator().manual_seed(STREAM),
            **self.update,  # type: ignore[arg-type]
        )

    def _describe(
        self, prefix: str, samples: Tensor, resampled: dict[str, UpdateQuality], columns: Tensor
    ) -> dict[str, float]:
        moving = samples.mean(0) != 0
        if not moving.any():
            return {}
        samples, columns, count = samples[:, moving], columns[moving], len(samples)
        snr = per_example_snr(samples.mean(0), samples.var(0), count)
        values = {
            f"{prefix}/snr": float(snr.median()),
            f"{prefix}/kurtosis": float(sample_skewness_and_kurtosis(samples)[1].nanmedian()),
            f"{prefix}/agreement": float(mean_and_median_agree(samples).double().mean()),
        }
        for name, (placement, k) in self.placements.items():
            formula = predicted_right_sign(snr.double(), placement, group_size=k, **self.update)  # type: ignore[arg-type]
            values[f"{prefix}/gaussian/{name}"] = float(formula.mean())
            values[f"{prefix}/resampled/{name}"] = float(resampled[name].right_sign[columns].mean())
        return values


def sample_coordinates(model: nn.Module, count: int) -> dict[str, Tensor]:
    """Return, per trainable parameter, the flat indices of ``count`` entries (all, if fewer), drawn once."""
    generator = torch.Generator().manual_seed(STREAM)
    return {
        name: torch.randperm(p.numel(), generator=generator)[:count]
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def gradients_at(model: nn.Module, problem: Any, batch: Any, chosen: dict[str, Tensor]) -> Tensor:
    """Return one batch's per-example gradients [examples, coordinates] at the chosen entries, on the CPU."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(trial: dict[str, Tensor], example: Any) -> Tensor:
        single = type(batch)(*(part.unsqueeze(0) for part in example))
        return problem.losses(lambda inputs: functional_call(model, trial, (inputs,)), single).squeeze(0)

    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, batch)
    columns = [gradients[name].flatten(1)[:, index.to(gradients[name].device)] for name, index in chosen.items()]
    return torch.cat(columns, dim=1).cpu()
