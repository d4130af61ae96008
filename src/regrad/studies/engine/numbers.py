"""What the prose, the stamps and the notebook say of the cost of per-example statistics."""

from collections.abc import Mapping
from typing import Any

from regrad.studies.engine.arms import Benchmark, workload_timings


def numbers(benchmark: Benchmark) -> dict[str, str]:
    timings = (workload_timings(benchmark, workload).get("surgery") for workload in benchmark["workloads"])
    ratios = [timing["ratio"] for timing in timings if timing]
    return {
        "engine/machine": source(benchmark),
        "engine/workloads": str(len(benchmark["workloads"])),
        "engine/range": f"{min(ratios):.2f} to {max(ratios):.2f}",
    }


def source(benchmark: Benchmark) -> str:
    about = benchmark["environment"]
    machine = about["device"] if about["time"].startswith("CUDA") else about["cpu"]
    counts = {len(t["seconds"]) for arms in benchmark["workloads"].values() for t in arms.values() if "seconds" in t}
    rounds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    return f"{machine}, torch {about['torch']}, {about['threads']} thread, medians of {rounds} rounds"


def largest_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in second)
