"""Whether a claim's base is a trained network: its mean against the bar of the ledger's task.

A comparison of networks that a table of byte pairs beats says nothing about training. A claim therefore names the
arm that must be competent; the mean of that arm over the seeds that decide, at the claim's preset, has to be better
than the bar. Where it is not, or no run says, the claim is not tested.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from regrad.claims.kinds.outcome import bounded, number
from regrad.claims.kinds.rows import Rows, reading, select
from regrad.claims.schema import Claim
from regrad.claims.tasks import Task


@dataclass(frozen=True)
class Gate:
    """A requirement, looked at."""

    task: Task
    arm: str  # the base
    preset: str  # of the rows
    value: float | None  # its mean: infinitely bad if a run diverged, None without a run
    n: int  # runs behind it

    @property
    def open(self) -> bool:
        """Whether the base beats the bar."""
        known = self.value is not None and self.preset in self.task.presets
        return known and self.task.beaten_by(self.value or 0.0)

    @property
    def why(self) -> str:
        """Why the gate is shut."""
        task = self.task
        if self.preset not in task.presets:
            return f"the floor of {task.name} is not known for the data of preset {self.preset}"
        if self.value is None:
            return f"no run with {task.metric} of its base {self.arm}"
        bar, floor = number(task.bar), number(task.floor)
        reached = f"{number(self.value)} {task.unit}" if math.isfinite(self.value) else "a run of which failed"
        base = f"its base ({self.arm}, {reached})"
        return f"{base} does not beat the bar of {task.name} ({bar}; floor {floor}, {task.floor_by})"

    def row(self) -> dict[str, Any]:
        """Return the gate for tables and figures: the base beside floor, untrained, competent and bar."""
        value = None if self.value is None else bounded(self.value)
        own = {"arm": self.arm, "value": value, "n": self.n, "open": self.open}
        return self.task.model_dump(mode="json", exclude={"presets"}) | own


def gates(claim: Claim, rows: Rows, preset: str) -> tuple[Gate, ...]:
    """Return the claim's gates, from rows of one study cut to the look that decides."""
    return tuple(_gate(required.task, required.arm, rows, preset) for required in claim.requires)


def shut(looked_at: Iterable[Gate]) -> str | None:
    """Return why the first gate that is shut is so; None where all are open."""
    return next((gate.why for gate in looked_at if not gate.open), None)


def _gate(task: Task, arm: str, rows: Rows, preset: str) -> Gate:
    values = [reading(row, task.better) for row in select(rows, task.metric, [arm])]
    return Gate(task, arm, preset, fmean(values) if values else None, len(values))
