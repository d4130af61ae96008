"""What a step with ALSDGC costs: numbers and claim rows from the record of ``benchmarks/scaling_step.py``."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from regrad.report.benchmarks import read

Benchmark = Mapping[str, Any]
CLAIM_MODEL = "resnet_like"  # as many tensors as ResNet-20 has
# Arms of the claim: name in the ledger, name in the record.
CLAIM_ARMS = {"clip-1": "clip", "V0": "v0", "V4": "v4"}


def benchmark(root: Path) -> dict[str, Any]:
    return read(root / "results" / "reference" / "benchmarks" / "scaling-step-cpu.json")


def seconds(measured: Benchmark, arm: str) -> list[float]:
    """Return the seconds of a whole training step of an arm of the ledger, round by round."""
    return measured["models"][CLAIM_MODEL][CLAIM_ARMS[arm]]["whole_seconds"]


def claim_rows(measured: Benchmark) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "seed": k, "value": value, "diverged": False, "metric": "step_seconds"}
        for arm in CLAIM_ARMS
        for k, value in enumerate(seconds(measured, arm))
    ]


def cost_numbers(measured: Benchmark) -> dict[str, str]:
    about = measured["environment"]
    clipping = seconds(measured, "clip-1")
    ratios = {arm: [a / b for a, b in zip(seconds(measured, arm), clipping, strict=True)] for arm in ("V0", "V4")}
    texts = {f"alsdgc/cost/{arm}": f"{median(values):.2f}" for arm, values in ratios.items()}
    machine = (
        f"{about['cpu']}, torch {about['torch']}, {about['threads']} thread, medians of {measured['rounds']} rounds"
    )
    return texts | {"alsdgc/cost/machine": machine}
