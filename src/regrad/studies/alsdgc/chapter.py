"""What the notebook of ALSDGC hands to the report: tables by name, numbers, verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regrad.claims.load import load, load_ledger
from regrad.claims.schema import Paired
from regrad.claims.verdicts import decide
from regrad.report.tables import to_latex
from regrad.results import Record
from regrad.studies.alsdgc import cost, tables
from regrad.studies.alsdgc.claims import claim_rows
from regrad.studies.alsdgc.numbers import numbers, theorem_numbers
from regrad.studies.alsdgc.study import STUDY


def latex_tables(records: Sequence[Record], root: Path) -> dict[str, str]:
    gates = load_ledger(root / "paper" / "claims.toml").tasks
    return {
        "tab-alsdgc": to_latex(tables.results_table(records)),
        "tab-alsdgc-tasks": to_latex(tables.tasks_table(records, gates)),
        "tab-alsdgc-control": to_latex(tables.control_table(records), columns="llrrr"),
        "tab-alsdgc-tuning": to_latex(tables.tuning_table(records)),
    }


def margin(root: Path) -> float:
    """Return the nats within which the ledger calls a difference of test losses a tie."""
    (claim,) = (claim for claim in load(root / "paper" / "claims.toml") if claim.id == "ALSDGC-D2")
    return next(test.margin for test in claim.test if isinstance(test, Paired))


def all_numbers(records: Sequence[Record], curves: Mapping[str, Any], root: Path) -> dict[str, str]:
    return numbers(records) | theorem_numbers(curves) | cost.cost_numbers(cost.benchmark(root))


def verdicts(
    records: Sequence[Record], passed: Iterable[Mapping[str, Any]], root: Path, preset: str
) -> list[dict[str, Any]]:
    ledger, fixed = root / "paper" / "claims.toml", [*passed, *cost.claim_rows(cost.benchmark(root))]
    return decide(ledger, STUDY.name, claim_rows, records, preset=preset, fixed=fixed)
