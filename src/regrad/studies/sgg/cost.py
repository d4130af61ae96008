"""What SGG costs: tables, numbers and claim rows from the record of ``benchmarks/sgg_step.py``."""

from collections.abc import Mapping
from statistics import median
from typing import Any

import pandas as pd

Benchmark = Mapping[str, Any]


def source(benchmark: Benchmark) -> str:
    about = benchmark["environment"]
    rounds = f"medians of {benchmark['rounds']} rounds"
    return f"{about['cpu']}, torch {about['torch']}, {about['threads']} thread, {rounds} of process CPU time"


def largest(benchmark: Benchmark) -> str:
    return max(benchmark["models"], key=lambda name: benchmark["models"][name]["entries"])


CLUSTERINGS = {
    "histogram": "k-means by histogram (default)",
    "exact": "k-means, exact, by sorting",
    "minibatch": "mini-batch k-means",
    "gmm": "Gaussian mixture, of a sample",
    "dbscan": "DBSCAN, of a sample",
}


def training_steps(benchmark: Benchmark, model: str) -> dict[str, list[float]]:
    """Return seconds of a training step with torch's AdamW, its foreach and fused ones, and SGG around each, by round.

    A share 1/T of the steps reclusters, T the printed interval.
    """
    parts, every = benchmark["models"][model]["training"], benchmark["interval"]
    backward, steps = parts["forward_backward"], {}
    for base in (name for name in ("adamw", "foreach", "fused") if name in parts):
        ordinary, recluster = parts[f"{base}+sgg ordinary"], parts[f"{base}+sgg recluster"]
        steps[base] = [b + step for b, step in zip(backward, parts[base], strict=True)]
        rounds = zip(backward, ordinary, recluster, strict=True)
        # Amortised within a round: its parts were timed one after another, under the same load.
        steps[f"{base}+sgg"] = [b + ((every - 1) * o + r) / every for b, o, r in rounds]
    return steps


def overhead(benchmark: Benchmark, base: str) -> str:
    """Return the median over rounds of a training step with SGG over that without, of the larger model."""
    steps = training_steps(benchmark, largest(benchmark))
    return f"{median(a / b for a, b in zip(steps[f'{base}+sgg'], steps[base], strict=True)):.3f}"


def claim_rows(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return the rounds of the larger model as rows: seconds of a training step of each arm of `training_steps`."""
    steps = training_steps(benchmark, largest(benchmark))
    return [
        {"arm": arm, "seed": round_, "value": value, "diverged": False, "metric": "seconds"}
        for arm, times in steps.items()
        for round_, value in enumerate(times)
    ]


def cost_table(benchmark: Benchmark) -> pd.DataFrame:
    """Return a base optimizer a line: its step, and SGG's steps around it over that, a column a model."""
    lines = []
    for base in next(iter(benchmark["models"].values()))["bases"]:
        line = {"base": base}
        for model, measured in benchmark["models"].items():
            cost = measured["bases"][base]
            line[f"{model}: ms"] = f"{cost['ms']['plain']['median']:.1f}"
            line[f"{model}: ord."] = f"{cost['ordinary_ratio']:.2f}"
            line[f"{model}: recl."] = f"{cost['recluster_in_steps']:.1f}"
            line[f"{model}: am."] = f"{cost['amortised_ratio']:.2f}"
        lines.append(line)
    return pd.DataFrame(lines)


def clusterings_table(benchmark: Benchmark) -> pd.DataFrame:
    clusterings = benchmark["clusterings"]["ms"]
    fastest = min(times["median"] for times in clusterings.values())
    return pd.DataFrame(
        {"clustering": CLUSTERINGS[name], "ms": f"{t['median']:,.0f}", "over least": f"{t['median'] / fastest:.1f}"}
        for name, t in clusterings.items()
    )


def cost_numbers(benchmark: Benchmark) -> dict[str, str]:
    model = largest(benchmark)
    bases = benchmark["models"][model]["bases"]
    state = benchmark["models"][model]["state"]["bytes_per_scaled_entry"]
    sgd = [measured["bases"]["SGD"]["ordinary_ratio"] for measured in benchmark["models"].values()]
    return {
        "sgg/cost/machine": source(benchmark),
        "sgg/cost/interval": str(benchmark["interval"]),
        "sgg/cost/tokens": str(benchmark["environment"]["tokens"]),
        "sgg/cost/weights": f"{benchmark['models'][model]['entries'] / 1e6:.0f} million",
        "sgg/cost/adamw": f"{bases['AdamW']['amortised_ratio']:.2f}",
        "sgg/cost/fused": f"{bases['AdamW fused']['amortised_ratio']:.2f}",
        "sgg/cost/sgd": f"{min(sgd):.2f} to {max(sgd):.2f}",
        "sgg/cost/recluster": f"{bases['AdamW']['recluster_in_steps']:.1f}",
        "sgg/cost/training-adamw": overhead(benchmark, "adamw"),
        "sgg/cost/training-fused": overhead(benchmark, "fused"),
        "sgg/cost/bytes": f"{state:.2f}",
    }
