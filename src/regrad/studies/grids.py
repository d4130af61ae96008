"""Tuning plans: equal grids around each arm's predicted optimum, extended at the edge, then fresh seeds."""

from collections.abc import Callable, Mapping
from typing import Any

from regrad.results import Record, Spec, rows
from regrad.statistics.tuning import Choice, choose

TUNING_SEED = 1000  # tuning uses seeds 1000, 1001, …; results use 0, 1, …: never the same
MakeSpec = Callable[[str, float, int, str], Spec]
FreshSeeds = Callable[[str, str], int]  # of a part and an arm


def log_grid(center: float, points: int, ratio: float) -> list[float]:
    """Return ``points`` learning rates around ``center``, neighbours ``ratio`` apart, six digits each."""
    # Six digits: the rate is part of a run's name, and the last bits of a power may differ between machines.
    return [float(f"{center * ratio ** (k - (points - 1) / 2):.6g}") for k in range(points)]


def tuned(records: list[Record], metric: str = "validation_loss") -> dict[str, Choice]:
    return choose(rows(records, metric, "tune"))


def tuning_then_fresh(
    grids: Mapping[str, list[float]],
    make: MakeSpec,
    records: list[Record],
    *,
    seeds: tuple[int, int | Callable[[str], int]],
    extensions: int = 2,
) -> list[Spec]:
    """Return every spec that can be named given ``records``: grids, their extensions, fresh-seed runs.

    Args:
        grids: First grid of each arm.
        make: Makes a spec from arm, learning rate, seed and phase.
        records: What has been run so far.
        seeds: Numbers of tuning seeds and of fresh seeds; the latter may be a function of the arm.
        extensions: How often a grid with its optimum on the edge may grow; after that no claim is decided on the arm.
    """
    tuning, fresh = seeds
    done: dict[str, dict[float, list[dict[str, Any]]]] = {arm: {} for arm in grids}
    for r in rows(records, "validation_loss", "tune"):
        done[r["arm"]].setdefault(r["lr"], []).append(r)
    specs: list[Spec] = []
    for arm, first in grids.items():
        grid, best = grown(first, done[arm], (tuning, extensions))
        # Named again even where they have run: a plan is the whole study, and the store knows which runs it has.
        specs += [make(arm, lr, TUNING_SEED + k, "tune") for lr in grid for k in range(tuning)]
        if best is not None:
            specs += [make(arm, best, seed, "fresh") for seed in range(fresh(arm) if callable(fresh) else fresh)]
    return specs


def grown(
    first: list[float], done: Mapping[float, list[dict[str, Any]]], counts: tuple[int, int]
) -> tuple[list[float], float | None]:
    """Return an arm's grid so far and, once its tuning is complete, its best learning rate.

    Args:
        first: Its first grid.
        done: Rows of tuning runs by learning rate.
        counts: Numbers of tuning seeds and of extensions.
    """
    (tuning, extensions), grid = counts, list(first)
    for extension in range(extensions + 1):
        # Half a grid chooses nothing: its best would depend on which run happened to end first.
        if not all(len(done.get(lr, ())) >= tuning for lr in grid):
            return grid, None
        # Only what is on this grid: the store may hold rates of another plan.
        choice = next(iter(choose([r for lr in grid for r in done[lr]]).values()))
        if choice.edge is None or extension == extensions:
            return grid, choice.best
        grid += [lr for lr in choice.extension if lr not in grid]
    return grid, None
