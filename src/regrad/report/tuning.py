"""The tuning of a study's arms, as a table and as curves: the same columns and the same marks everywhere."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from regrad.report.outcomes import Outcomes
from regrad.report.style import rate_axis
from regrad.report.tables import significant
from regrad.statistics.tuning import Choice


def rate(lr: float | None) -> str:
    """Return a learning rate as tables print it, "none" where every one diverged."""
    return "none" if lr is None else significant(lr, 2)


def tuning_row(choice: Choice, *, decades: bool = False) -> dict[str, Any]:
    """Return what a tuning table says of an arm; ``decades`` says how wide the grid is, where arms differ in that."""
    return {
        "lowest LR": significant(min(choice.means), 2),
        "highest LR": significant(max(choice.means), 2),
        **({"decades": f"{choice.decades:.2f}"} if decades else {}),
        "trials": choice.trials,
        "best LR": rate(choice.best),
        "on edge": choice.edge or "no",
        "div.": sum(choice.diverged.values()),
    }


def draw_tuning(axis: Axes, outcomes: Outcomes, arm: str, style: Mapping[str, Any], *, dots: bool = False) -> None:
    """Draw an arm's mean final validation loss against its learning rate, and a ring around the chosen one.

    Learning rates at which a run diverged are not drawn; the tuning table counts them.
    """
    choice = outcomes.choices()[arm]
    if dots:
        runs = [r for r in outcomes.tuning.arm(arm) if not r.diverged]
        points = [(r.spec.optimizer.lr, r.metrics["validation_loss"]) for r in runs]
        axis.scatter([x for x, _ in points], [y for _, y in points], s=4, color=style["color"], alpha=0.5, lw=0)
    finite = sorted((lr, mean) for lr, mean in choice.means.items() if math.isfinite(mean))
    axis.plot([lr for lr, _ in finite], [mean for _, mean in finite], **style)
    if choice.best is not None:
        axis.plot(choice.best, choice.means[choice.best], "o", mfc="none", mec=style["color"], ms=8, mew=1)
    rate_axis(axis)
