"""Choice of a learning rate on a tuning grid, and where the grid has to grow.

The mean over seeds is compared. Two rates differ by noise where the mean of their paired differences is within its
standard error, SE = s / √S with s over the S seeds. One seed says nothing about noise: SE = 0.

* Among neighbouring rates within the noise of the lowest mean the smallest is chosen: a larger one must be better.
* A grid grows where the optimum lies on its edge, but not for a lead within the noise over the rate next to the
  edge: that one is then chosen.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Choice:
    """The outcome of one arm's tuning; the row of the tuning table.

    Attributes:
        best: The learning rate chosen, by the rules above; None where every one diverged.
        edge: ``"low"``, ``"high"`` or ``"both"`` (a grid of one point): the end of the grid at which the
            optimum lies, so that a better one may lie beyond. None for an interior optimum.
        extension: Learning rates to try next, outward by the grid's own ratio; empty for an interior optimum.
        means: Learning rate to mean value over seeds; inf where one of them diverged.
        diverged: Learning rate to number of diverged runs.
        trials: Runs spent.
        decades: log10 of highest over lowest learning rate.
    """

    best: float | None
    edge: str | None
    extension: tuple[float, ...]
    means: dict[float, float]
    diverged: dict[float, int]
    trials: int
    decades: float


def choose(rows: Iterable[Mapping[str, Any]], *, extend_by: int = 2, ratio: float = 2.0) -> dict[str, Choice]:
    """Return each arm's best learning rate, and how its grid must grow if the optimum lies on its edge.

    A learning rate at which a run diverged is worse than every finite one, whatever its other seeds say: the
    infinite value is ordered, never averaged with numbers. Of equal values the lower learning rate is chosen.

    Args:
        rows: Tuning runs: ``arm``, ``lr``, ``seed``, ``value`` (lower is better) and ``diverged``.
        extend_by: Points proposed at each open end, ≥ 1.
        ratio: Ratio of the proposed grid where the arm has one learning rate only, > 1.

    Raises:
        ValueError: A learning rate that is not positive, a run given twice, or learning rates of an arm with
            different seeds, whose means could not be compared.
    """
    if extend_by < 1 or not 1 < ratio < math.inf:
        raise ValueError(f"extend_by, ratio: {extend_by}, {ratio}; allowed: extend_by >= 1, ratio > 1")
    arms: dict[str, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        runs = arms[row["arm"]][row["lr"]]
        if not 0 < row["lr"] < math.inf or row["seed"] in runs:
            given = f"{row['arm']}: lr {row['lr']}, seed {row['seed']}"
            raise ValueError(f"{given}; allowed: a positive finite lr, and each run once")
        runs[row["seed"]] = tuning_value(row)
    return {arm: _choice(arm, grid, (extend_by, ratio)) for arm, grid in arms.items()}


def tuning_value(row: Mapping[str, Any]) -> float:
    """Return the row's value, inf for a diverged run or one that has no finite value."""
    value = row.get("value")
    return math.inf if row.get("diverged") or value is None or not math.isfinite(value) else float(value)


def _choice(arm: str, grid: Mapping[float, Mapping[int, float]], growth: tuple[int, float]) -> Choice:
    lrs = sorted(grid)
    seeds = set(grid[lrs[0]])
    for lr in lrs:
        if set(grid[lr]) != seeds:
            given = f"{arm}: lr {lr} has seeds {sorted(grid[lr])}"
            raise ValueError(f"{given}; allowed: {sorted(seeds)}, as at lr {lrs[0]}")
    means = {lr: math.fsum(grid[lr].values()) / len(seeds) for lr in lrs}
    best = _within_noise([grid[lr] for lr in lrs], lrs.index(min(lrs, key=lambda lr: means[lr])))
    finite = math.isfinite(means[lrs[best]])
    edge = _edge(lrs, lrs[best], finite)
    return Choice(
        best=lrs[best] if finite else None,
        edge=edge,
        extension=_extension(lrs, edge, growth),
        means=means,
        diverged={lr: sum(math.isinf(value) for value in grid[lr].values()) for lr in lrs},
        trials=len(lrs) * len(seeds),
        decades=math.log10(lrs[-1] / lrs[0]),
    )


def _within_noise(values: list[Mapping[int, float]], lowest: int) -> int:
    best = lowest
    # The first rate is left out: chosen for being small it would lie on the edge, and the grid grow for no gain.
    while best > 1 and _differ_by_noise(values[best - 1], values[lowest]):
        best -= 1
    return 1 if lowest == 0 and len(values) > 2 and _differ_by_noise(values[1], values[0]) else best


def _differ_by_noise(values: Mapping[int, float], others: Mapping[int, float]) -> bool:
    differences = [value - others[seed] for seed, value in values.items()]
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return False
    return abs(fmean(differences)) <= stdev(differences) / math.sqrt(len(differences))


def _edge(lrs: list[float], best: float, finite: bool) -> str | None:
    if not finite:
        return "low"  # everything diverged: only smaller steps can help
    if len(lrs) == 1:
        return "both"
    return {lrs[0]: "low", lrs[-1]: "high"}.get(best)


def _extension(lrs: list[float], edge: str | None, growth: tuple[int, float]) -> tuple[float, ...]:
    count, ratio = growth
    powers = range(1, count + 1)
    below = lrs[1] / lrs[0] if len(lrs) > 1 else ratio
    above = lrs[-1] / lrs[-2] if len(lrs) > 1 else ratio
    low = [lrs[0] / below**k for k in powers] if edge in ("low", "both") else []
    high = [lrs[-1] * above**k for k in powers] if edge in ("high", "both") else []
    # Six digits, so that a proposal computed twice names the same run.
    return tuple(float(f"{lr:.6g}") for lr in sorted(low + high))
