"""What DGS costs: table, numbers and claim rows from the record of ``benchmarks/dgs_step.py``."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from regrad.report.benchmarks import read

Benchmark = Mapping[str, Any]
CLAIM_NETWORK = "ResNet-20"
# Arms of the claim: name in the ledger, name in the record.
CLAIM_ARMS = {"S1": "steps", "adam": "Adam"}
# Columns over SGD: heading, name in the record.
RATIOS = {"Adam": "Adam", "Adam (0, 0)": "Adam(0, 0)", "equation": "equation", "steps": "steps"}


def benchmark(root: Path) -> dict[str, Any]:
    return read(root / "results" / "reference" / "benchmarks" / "dgs-step-cpu.json")


def source(measured: Benchmark) -> str:
    about = measured["environment"]
    rounds = len(measured["networks"][CLAIM_NETWORK]["rounds"]["SGD"])
    return f"{about['cpu']}, torch {about['torch']}, {about['threads']} thread, medians of {rounds} rounds of CPU time"


def claim_rows(measured: Benchmark) -> list[dict[str, Any]]:
    """Return the rounds on ResNet-20's parameters as rows: seconds of a step of ``S1`` and ``adam``."""
    rounds = measured["networks"][CLAIM_NETWORK]["rounds"]
    return [
        {"arm": arm, "seed": k, "value": value / 1e6, "diverged": False, "metric": "step_seconds"}
        for arm, name in CLAIM_ARMS.items()
        for k, value in enumerate(rounds[name])
    ]


def cost_table(measured: Benchmark) -> pd.DataFrame:
    """Return a network a line: milliseconds of a step of SGD, and of the others over that."""
    lines = []
    for name, row in measured["networks"].items():
        micros = row["microseconds"]
        line = {"parameters of": name, "weights (M)": f"{row['parameters'] / 1e6:.2f}"}
        line["SGD (ms)"] = f"{micros['SGD'] / 1e3:.2f}"
        for heading, arm in RATIOS.items():
            line[heading] = f"{micros[arm] / micros['SGD']:.2f}"
        lines.append(line)
    return pd.DataFrame(lines)


def cost_numbers(measured: Benchmark) -> dict[str, str]:
    rounds = measured["networks"][CLAIM_NETWORK]["rounds"]
    large = [row for name, row in measured["networks"].items() if "matrices" in name]

    def ratio(arm: str, to: str) -> str:
        return f"{median(rounds[arm]) / median(rounds[to]):.2f}"

    return {
        "dgs/cost/machine": source(measured),
        "dgs/cost/S1-adam": ratio("steps", "Adam"),
        "dgs/cost/S1-adam00": ratio("steps", "Adam(0, 0)"),
        "dgs/cost/E1-sgd": ratio("equation", "SGD"),
        "dgs/cost/E1-large": f"{max(row['equation / SGD'] for row in large):.2f}",
        "dgs/cost/bytes-adam": f"{measured['bytes']['Adam']:.1f}",
        "dgs/cost/bytes-S1": f"{measured['bytes']['steps']:.1f}",
    }
