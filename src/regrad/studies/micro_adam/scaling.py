"""How E[gbar²] splits into μ² and σ²/B, and Adam's curves over batch sizes: records in, numbers and rows out."""

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from regrad.results import Record
from regrad.studies.micro_adam.rows import diverged, of_part


def split(record: Record, batch_size: int, parameter: str | None = None) -> list[float]:
    """Return μ²/(μ² + σ²/B) at each checkpoint of a run, in [0, 1], from sums over a tensor or over all.

    Args:
        record: A run with the measure ``moment_split``.
        batch_size: B, not necessarily the run's own.
        parameter: A tensor's name; all of them for None.
    """
    names = tensors(record) if parameter is None else [parameter]
    curves = [[record.curves[f"split/{name}/{what}"].y for name in names] for what in ("mean_square", "variance")]
    sums = [[math.fsum(values) for values in zip(*of_tensors, strict=True)] for of_tensors in curves]
    return [share(mean_square, spread, batch_size) for mean_square, spread in zip(*sums, strict=True)]


def share(mean_square: float, variance: float, batch_size: int) -> float:
    """Return μ²/(μ² + σ²/B), 0 where the unbiased estimate of μ² is negative."""
    signal, noise = max(0.0, mean_square), variance / batch_size
    return signal / (signal + noise) if signal + noise > 0 else 0.0


def tensors(record: Record) -> list[str]:
    """Return the parameter tensors whose split a run has measured."""
    names = [key.removeprefix("split/") for key in record.curves if key.startswith("split/")]
    return [name.removesuffix("/variance") for name in names if name.endswith("/variance")]


def scaling(records: Iterable[Record], arm: str) -> dict[int, list[Record]]:
    """Return the runs of a rule η ∝ B^p by batch size."""
    found: dict[int, list[Record]] = {}
    for record in of_part(records, "scaling"):
        if record.spec.tags["arm"] == arm:
            found.setdefault(record.spec.batch_size, []).append(record)
    return dict(sorted(found.items()))


def shares(records: Iterable[Record]) -> dict[int, float]:
    """Return the mean squared's share of E[gbar²] by batch size: over all tensors, mean over the run and seeds.

    It is measured under η ∝ B^½ and stands for all three exponents, so that spreads over the batch sizes
    in a regime are over the same batch sizes.
    """
    found: dict[int, float] = {}
    for size, runs in scaling(records, "lr~B^0.5").items():
        values = [value for run in runs if tensors(run) for value in split(run, size)]
        found |= {size: fmean(values)} if values else {}
    return found


def scaling_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the points of all scaling curves: validation loss ``at`` so many examples, untrained ones left out.

    A diverged run has a row without a value at every point where the others have one.
    """
    of_size, runs = shares(records), of_part(records, "scaling")
    points = sorted({x * r.spec.batch_size for r in runs for x in r.curves["validation_loss"].x if x > 0})
    found = []
    for run in runs:
        size, curve = run.spec.batch_size, run.curves["validation_loss"]
        values = {} if diverged(run) else dict(zip((x * size for x in curve.x), curve.y, strict=True))
        about = {"arm": run.spec.tags["arm"], "seed": run.spec.seed, "batch_size": size}
        about |= {"metric": "validation_loss", "mean_square_share": of_size.get(size, 0.0)}
        found += [about | {"at": p, "value": values.get(p), "diverged": diverged(run)} for p in points]
    return found
