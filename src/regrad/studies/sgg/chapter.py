"""What the notebook of SGG hands to the report: tables by name, numbers, verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regrad.report.benchmarks import read
from regrad.report.ledger.verdicts import decide
from regrad.report.tables import to_latex
from regrad.results import Record
from regrad.studies.sgg import cost as sgg_cost
from regrad.studies.sgg import tables
from regrad.studies.sgg.claims import claim_rows
from regrad.studies.sgg.numbers import numbers
from regrad.studies.sgg.printed import printed_table
from regrad.studies.sgg.standin_tables import standins_table

PRINTED_COLUMNS = r"p{.16\linewidth}p{.3\linewidth}p{.46\linewidth}"


def benchmark(root: Path) -> dict[str, Any]:
    """Return the committed record of ``benchmarks/sgg_step.py``."""
    return read(root / "results" / "reference" / "benchmarks" / "sgg-step-cpu.json")


def cost_source(root: Path) -> str:
    """Return what the stamp of the benchmark's tables says."""
    return sgg_cost.source(benchmark(root))


def latex_tables(records: Sequence[Record], root: Path) -> dict[str, str]:
    """Return every table of the section in LaTeX, by name."""
    measured = benchmark(root)
    frames = {
        "tab-sgg": tables.results_table(records),
        "tab-sgg-tuning": tables.tuning_table(records),
        "tab-sgg-variants": tables.variants_table(records),
        "tab-sgg-ablations": tables.ablations_table(records),
        "tab-sgg-finetuning": tables.finetuning_table(records),
        "tab-sgg-standins": standins_table(records),
        "tab-sgg-cost": sgg_cost.cost_table(measured),
        "tab-sgg-clusterings": sgg_cost.clusterings_table(measured),
    }
    found = {name: to_latex(frame) for name, frame in frames.items()}
    return found | {"tab-sgg-printed": to_latex(printed_table(), columns=PRINTED_COLUMNS)}


def all_numbers(records: Sequence[Record], root: Path) -> dict[str, str]:
    """Return what the prose cites, of the runs and of the benchmark."""
    return numbers(records) | sgg_cost.cost_numbers(benchmark(root))


def verdicts(records: Sequence[Record], root: Path, preset: str) -> list[dict[str, Any]]:
    """Return the verdicts on the claims that runs decide, then on those that the benchmark does."""
    ledger, rows = root / "paper" / "claims.toml", sgg_cost.claim_rows(benchmark(root))
    found = decide(ledger, "sgg", claim_rows(records), preset=preset, records=records)
    return found + decide(ledger, "sgg_cost", rows, preset=preset, device="cpu")
