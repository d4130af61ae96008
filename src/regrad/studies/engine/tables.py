"""The table of what per-example statistics cost: a benchmark's record in, data frame out."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from regrad.studies.engine.arms import Benchmark, workload_timings

# Column to the arms that it shows: the first that ran.
COLUMNS = {
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
