"""What the notebook of SGG hands to the report: tables by name, numbers, verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regrad.claims.load import load
from regrad.claims.schema import Paired
from regrad.claims.verdicts import decide
from regrad.report.benchmarks import read
from regrad.report.tables import to_latex
from regrad.results import Record
from regrad.studies.sgg import cost, tables
from regrad.studies.sgg.claims import claim_rows
from regrad.studies.sgg.numbers import numbers
from regrad.studies.sgg.printed import printed_table
from regrad.studies.sgg.study import STUDY

PRINTED_COLUMNS = r"p{.16\linewidth}p{.3\linewidth}p{.46\linewidth}"


def benchmark(root: Path) -> dict[str, Any]:
    return read(root / "results" / "reference" / "benchmarks" / "sgg-step-cpu.json")


def cost_source(root: Path) -> str:
    return cost.source(benchmark(root))


def margin(root: Path) -> float:
    """Return the nats within which the ledger calls a difference of test losses a tie."""
    (claim,) = (claim for claim in load(root / "paper" / "claims.toml") if claim.id == "SGG-C1")
    return next(test.margin for test in claim.test if isinstance(test, Paired))


def latex_tables(records: Sequence[Record], root: Path) -> dict[str, str]:
    measured = benchmark(root)
    frames = {
        "tab-sgg": tables.results_table(records),
        "tab-sgg-tuning": tables.tuning_table(records),
        "tab-sgg-variants": tables.variants_table(records),
        "tab-sgg-ablations": tables.ablations_table(records),
        "tab-sgg-finetuning": tables.finetuning_table(records),
        "tab-sgg-standins": tables.standins_table(records),
        "tab-sgg-cost": cost.cost_table(measured),
        "tab-sgg-clusterings": cost.clusterings_table(measured),
    }
    texts = {name: to_latex(frame) for name, frame in frames.items()}
    return texts | {"tab-sgg-printed": to_latex(printed_table(), columns=PRINTED_COLUMNS)}


def all_numbers(records: Sequence[Record], root: Path) -> dict[str, str]:
    return numbers(records) | cost.cost_numbers(benchmark(root))


def verdicts(records: Sequence[Record], root: Path, preset: str) -> list[dict[str, Any]]:
    ledger, rows = root / "paper" / "claims.toml", cost.claim_rows(benchmark(root))
    of_runs = decide(ledger, STUDY.name, claim_rows, records, preset=preset)
    return of_runs + decide(ledger, "sgg_cost", fixed=rows, preset=preset, device="cpu")
