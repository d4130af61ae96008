"""What the claims on cost are decided from: single rounds of one workload, and counted bytes."""

from typing import Any

from regrad.studies.engine.arms import ORDINARY, Benchmark, workload_timings

WORKLOAD = "decoder B16 V256"
# Arms of the ledger to those of the benchmark.
TIMED = {"graph": "surgery", "vmap": "vmap"}
COUNTED = ("per_example_gradients", "activations")


def claim_rows(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return the rounds of the decoder as rows, seconds and peak bytes of an arm, and bytes by size of the problem."""
    timings = workload_timings(benchmark, WORKLOAD)
    # With torch's attention or a plain one: an overhead is over the best step one could have had without statistics.
    ordinary = [timings[arm] for arm in ORDINARY if arm in timings]
    # The best step of each round: what is divided by it ran under the same load.
    fastest = [min(seconds) for seconds in zip(*(timing["seconds"] for timing in ordinary), strict=True)]
    rows = _rows("backward", fastest, min(timing["peak_bytes"] for timing in ordinary))
    for arm, name in TIMED.items():
        rows += _rows(arm, timings[name]["seconds"], timings[name]["peak_bytes"])
    return rows + [
        {"arm": arm, "seed": size, "value": float(counts[arm]), "diverged": False, "metric": "bytes"}
        for size, counts in enumerate(benchmark["bytes"])
        for arm in COUNTED
    ]


def _rows(arm: str, seconds: list[float], peak_bytes: float) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "seed": round_, "value": value, "diverged": False, "metric": metric}
        for round_, second in enumerate(seconds)
        for metric, value in (("seconds", second), ("peak_bytes", float(peak_bytes)))
    ]
