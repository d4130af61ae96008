"""What the claims on cost are decided from: single rounds of one workload, and counted bytes."""

from collections.abc import Mapping
from typing import Any

from regrad.studies.engine.arms import ORDINARY, SAME_PRODUCT, Benchmark, workload_timings

WORKLOAD = "decoder B16 V256"  # of the claim on vmap
# Arms of the ledger to those of the benchmark.
TIMED = {"graph": "surgery", "vmap": "vmap"}
COUNTED = ("per_example_gradients", "activations")


def claim_rows(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return the rounds as rows, seconds and peak bytes of an arm and a workload, and bytes by size of the problem."""
    rows = _rows("backward", *_fastest(workload_timings(benchmark, WORKLOAD)))
    for workload in benchmark["workloads"]:
        timings = workload_timings(benchmark, workload)
        # Through one matrix product: a ratio between two libraries' is no property of the method.
        for arm, name in {"backward": SAME_PRODUCT, "graph": TIMED["graph"]}.items():
            if name in timings:
                rows += _rows(arm, timings[name]["seconds"], timings[name]["peak_bytes"], f"/{workload}")
    for arm, name in TIMED.items():
        timing = workload_timings(benchmark, WORKLOAD)[name]
        rows += _rows(arm, timing["seconds"], timing["peak_bytes"])
    return rows + [
        {"arm": arm, "seed": size, "value": float(counts[arm]), "diverged": False, "metric": "bytes"}
        for size, counts in enumerate(benchmark["bytes"])
        for arm in COUNTED
    ]


def _fastest(timings: Mapping[str, Mapping[str, Any]]) -> tuple[list[float], float]:
    """Return the best ordinary step of each round, and the leanest's bytes.

    What is divided by them ran under the same load.
    """
    ordinary = [timings[arm] for arm in ORDINARY if arm in timings]
    rounds = zip(*(timing["seconds"] for timing in ordinary), strict=True)
    return [min(seconds) for seconds in rounds], min(timing["peak_bytes"] for timing in ordinary)


def _rows(arm: str, seconds: list[float], peak_bytes: float, workload: str = "") -> list[dict[str, Any]]:
    return [
        {"arm": arm, "seed": round_, "value": value, "diverged": False, "metric": metric + workload}
        for round_, second in enumerate(seconds)
        for metric, value in (("seconds", second), ("peak_bytes", float(peak_bytes)))
    ]
