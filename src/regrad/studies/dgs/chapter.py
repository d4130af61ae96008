"""What the notebook of DGS hands to the report: tables by name, numbers, verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regrad.claims.load import load
from regrad.claims.schema import Paired
from regrad.claims.tasks import Task
from regrad.claims.verdicts import decide
from regrad.report.gates import tasks_by_arm
from regrad.report.tables import to_latex
from regrad.results import Record
from regrad.studies.dgs import tables
from regrad.studies.dgs.claims import claim_rows
from regrad.studies.dgs.cost import benchmark, cost_numbers, cost_table, source
from regrad.studies.dgs.cost import claim_rows as cost_rows
from regrad.studies.dgs.numbers import numbers
from regrad.studies.dgs.scale import scale_numbers
from regrad.studies.dgs.speed import speed_numbers
from regrad.studies.dgs.study import STUDY


def latex_tables(records: Sequence[Record], failures: Iterable[Mapping[str, str]], root: Path) -> dict[str, str]:
    tasks = required(root)
    return {
        "tab-dgs-audit": to_latex(tables.audit_table(failures), columns="p{52mm}lp{66mm}"),
        "tab-dgs-images": to_latex(turned(tables.images_table(records, tasks))),
        "tab-dgs-reset": to_latex(tables.reset_table(records), columns="llrrrr"),
        "tab-dgs-spiking-lars": to_latex(tables.spiking_table(records, "lars", tasks), columns="lllrrrr"),
        "tab-dgs-spiking-adam": to_latex(tables.spiking_table(records, "adam", tasks), columns="lllrrrr"),
        "tab-dgs-beyond": to_latex(tables.beyond_table(records, tasks), columns="lllrrr"),
        "tab-dgs-tuning": to_latex(tables.tuning_table(records), columns="llrrrrrr"),
        "tab-dgs-cost": to_latex(cost_table(benchmark(root))),
    }


def turned(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with a column an arm: a page holds as many, and not a column each quantity."""
    if frame.empty:
        return frame
    across = frame.set_index("arm").T
    return across.rename_axis(columns=None).rename_axis("").reset_index()


def required(root: Path) -> dict[str, Task]:
    """Return the task of each arm that the ledger wants to be competent."""
    return tasks_by_arm(root / "paper" / "claims.toml", STUDY.name)


def cost_stamp(root: Path) -> str:
    return source(benchmark(root))


def all_numbers(records: Sequence[Record], repaired: Sequence[dict[str, Any]], root: Path) -> dict[str, str]:
    of_runs = numbers(records, repaired) | speed_numbers(records) | scale_numbers(records)
    return of_runs | cost_numbers(benchmark(root))


def margin(root: Path) -> float:
    """Return the ledger's margin of accuracy, in points."""
    (claim,) = (claim for claim in load(root / "paper" / "claims.toml") if claim.id == "DGS-C1")
    return next(test.margin for test in claim.test if isinstance(test, Paired))


def verdicts(
    records: Sequence[Record], passed: Iterable[dict[str, Any]], root: Path, preset: str
) -> list[dict[str, Any]]:
    ledger, fixed = root / "paper" / "claims.toml", [*passed, *cost_rows(benchmark(root))]
    return decide(ledger, STUDY.name, claim_rows, records, preset=preset, fixed=fixed)
