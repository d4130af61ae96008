"""Tables of what per-example statistics cost: a benchmark's records in, data frame out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from regrad.report.benchmarks import read
from regrad.studies.engine.arms import SAME_PRODUCT, Benchmark, workload_timings

# Column to the arms that it shows: the first that ran.
COLUMNS = {
    "same product": (SAME_PRODUCT,),
    "surgery": ("surgery",),
    "vmap": ("vmap",),
    "chunked": ("vmap, chunks of 4", "vmap, chunks of 16"),
    "Expanded": ("ExpandedWeights",),
    "Opacus": ("Opacus hooks",),
    "BackPACK": ("BackPACK SumGradSquared",),
}


def cost_table(benchmark: Benchmark) -> pd.DataFrame:
    lines = []
    for workload in benchmark["workloads"]:
        timings = workload_timings(benchmark, workload)
        cells = {
            column: next((ratios(timings[arm]) for arm in arms if arm in timings), "-")
            for column, arms in COLUMNS.items()
        }
        weights = f"{benchmark['parameters'][workload] / 1e6:.2f}"
        lines.append({"workload": workload, "weights (M)": weights, **cells})
    return pd.DataFrame(lines)


def ratios(timing: Mapping[str, Any]) -> str:
    return f"{timing['ratio']:.2f} / {timing['memory_ratio']:.2f}"


# What ``benchmarks/gpu.sh`` measures, with the bounds that were set before.
GPU_BOUNDS = {"decoder 160M B64 T1024": ("T = 1024", "1.10"), "decoder 160M B512 T128": ("T = 128", "1.20")}
GPU_SIZES = ("60M", "130M")
UNMEASURED = "not measured"


def gpu_table(folder: Path) -> pd.DataFrame:
    """Return what the records of a GPU in a folder have, a line a quantity, measured or not, beside its bound."""
    engine, steps = (
        read(path) if path.exists() else {} for path in (folder / "perexample-cuda.json", folder / "steps-cuda.json")
    )
    lines = []
    for workload, (length, bound) in GPU_BOUNDS.items():
        timing = engine.get("workloads", {}).get(workload, {}).get("surgery", {})
        found = f"{timing['ratio']:.2f}" if "ratio" in timing else UNMEASURED
        lines.append((f"time of statistics, 160M, {length}", bound, found))
    for size in GPU_SIZES:
        measured = steps.get("sizes", {}).get(size)
        rate = f"{measured['tokens a second']['AdamW fused']:,.0f}" if measured else UNMEASURED
        ratio = f"{measured['SGG over AdamW']:.3f}" if measured else UNMEASURED
        lines += [(f"tokens a second, {size}", "-", rate), (f"SGG's step over AdamW's, {size}", "-", ratio)]
    return pd.DataFrame(lines, columns=["on one GPU, bfloat16", "bound", "measured"])
