"""Floor, bar and competent value of the tasks that a study's claims require, for its tables and figures of losses."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from regrad.claims.load import load
from regrad.claims.tasks import Task
from regrad.report.marks import COMPARED_WITH

DASHES = {"floor": ":", "bar": "--", "competent": "-."}


def tasks_by_arm(ledger: Path, study: str) -> dict[str, Task]:
    """Return the task of each arm that a claim of the study requires to be competent."""
    claims = (claim for claim in load(ledger) if claim.study == study)
    return {gate.arm: gate.task for claim in claims for gate in claim.requires}


def tasks_of(ledger: Path, study: str) -> tuple[Task, ...]:
    """Return the tasks that a study's claims require, each once."""
    return tuple(dict.fromkeys(tasks_by_arm(ledger, study).values()))


def gate_text(task: Task, digits: int) -> str:
    return ", ".join(f"{getattr(task, name):.{digits}f}" for name in DASHES)


def with_gate(frame: pd.DataFrame, cells: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with one more line, empty but for ``cells``; without any cells the table as it is."""
    return pd.concat([frame, pd.DataFrame([cells])], ignore_index=True).fillna("") if cells else frame


def draw_gates(axis: Axes, tasks: Iterable[Task]) -> None:
    for task in tasks:
        draw_gate(axis, task)


def draw_gate(axis: Axes, task: Task) -> None:
    """Draw floor (dotted), bar (dashed) and competent value (dash-dotted) across a figure in the task's unit."""
    for name, dashes in DASHES.items():
        axis.axhline(getattr(task, name), color=COMPARED_WITH, lw=0.7, ls=dashes)
