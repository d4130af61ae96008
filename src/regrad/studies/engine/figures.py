"""The cost of per-example statistics: figure, table, numbers and claim rows from a benchmark's JSON file."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from regrad.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, PAGE_INCHES, PINK, RED, SKY, canvas

Benchmark = Mapping[str, Any]

# Label, colour and marker of each method; several modes of one library share a colour.
ARMS: dict[str, tuple[str, str, str]] = {
    "surgery": ("surgery (ours)", BLUE, "D"),
    "vmap": ("vmap", RED, "o"),
    "vmap, chunks of 4": ("vmap in chunks", RED, "v"),
    "vmap, chunks of 16": ("vmap in chunks", RED, "v"),
    "vmap, compiled": ("vmap, compiled", RED, "*"),
    "ExpandedWeights": ("ExpandedWeights", ORANGE, "s"),
    "micro-batch loop": ("micro-batch loop", GREY, "X"),
    "Opacus hooks": ("Opacus hooks", GREEN, "^"),
    "Opacus functorch": ("Opacus functorch", GREEN, "<"),
    "Opacus ghost (norms only)": ("Opacus ghost (norms only)", GREEN, ">"),
    "BackPACK SumGradSquared": ("BackPACK SumGradSquared", PINK, "P"),
    "BackPACK BatchGrad": ("BackPACK BatchGrad", PINK, "h"),
    "surgery, compiled": ("surgery, compiled (ours)", SKY, "D"),
}
# Memory ratios that get a label between the powers of ten.
MINOR = (0.3, 0.5, 2.0, 4.0)
CLAIM_WORKLOAD = "decoder B16 V256"


def largest_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Return the largest absolute difference of two answers {parameter name: tensor}."""
    return max(float((first[name] - second[name]).abs().max()) for name in second)


def source(benchmark: Benchmark) -> str:
    """Return the words of the stamp: machine, rounds, threads, torch."""
    about = benchmark["environment"]
    machine = about["device"] if about["time"].startswith("CUDA") else about["cpu"]
    counts = {len(r["seconds"]) for arms in benchmark["workloads"].values() for r in arms.values() if "seconds" in r}
    rounds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    return f"{machine}, torch {about['torch']}, {about['threads']} thread, medians of {rounds} rounds"


def measured(benchmark: Benchmark, workload: str) -> dict[str, Mapping[str, Any]]:
    """Return the arms of a workload that ran."""
    return {arm: r for arm, r in benchmark["workloads"][workload].items() if "ratio" in r}


def fig_cost(benchmark: Benchmark) -> Figure:
    """Time against peak memory, both over the best ordinary step; a panel a workload."""
    names = list(benchmark["workloads"])
    with canvas(width=PAGE_INCHES, height=5.2, nrows=3, ncols=4) as (figure, grid):
        labels: dict[str, Any] = {}
        for axis, name in zip(grid.flat, names, strict=False):
            axis.plot(1, 1, "+", color=BLACK, ms=9, mew=1.2)
            for arm, r in measured(benchmark, name).items():
                if arm in ARMS:
                    label, color, marker = ARMS[arm]
                    size = 6 if arm.startswith("surgery") else 4
                    (labels[label],) = axis.plot(r["ratio"], r["memory_ratio"], marker, color=color, ms=size)
            wide = max(r["ratio"] for r in measured(benchmark, name).values()) > 5
            axis.set(title=name.replace(" in ", "\nin "), xscale="log" if wide else "linear", yscale="log")
            if not wide:
                axis.xaxis.set_major_locator(MaxNLocator(4))
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                side.set_minor_formatter(FuncFormatter(lambda value, _: ""))
            if not wide:
                axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value in MINOR else ""))
            axis.margins(0.1)
        for axis in grid.flat[max(0, len(names) - 4) : len(names)]:
            axis.set_xlabel("time ratio")
        for axis in grid[:, 0]:
            axis.set_ylabel("memory ratio")
        for axis in grid.flat[len(names) :]:
            axis.set_axis_off()
        figure.legend(labels.values(), labels.keys(), loc="outside upper center", ncols=4)
    return figure


def cost_table(benchmark: Benchmark) -> pd.DataFrame:
    """Return time / memory ratios, a line a workload: ours and each peer."""
    shown = {
        "surgery": ("surgery",),
        "four stat.": ("surgery, four",),
        "vmap": ("vmap",),
        "chunked": ("vmap, chunks of 4", "vmap, chunks of 16"),
        "ExpandedW.": ("ExpandedWeights",),
        "Opacus": ("Opacus hooks",),
        "BackPACK": ("BackPACK SumGradSquared",),
    }
    lines = []
    for name in benchmark["workloads"]:
        arms = measured(benchmark, name)
        cells = {column: next((ratio(arms[a]) for a in names if a in arms), "-") for column, names in shown.items()}
        weights = f"{benchmark['parameters'][name] / 1e6:.2f}"
        lines.append({"workload": name, "weights (M)": weights, **cells})
    return pd.DataFrame(lines)


def ratio(row: Mapping[str, Any]) -> str:
    """Return ``"time / memory"`` of one measurement."""
    return f"{row['ratio']:.2f} / {row['memory_ratio']:.2f}"


def numbers(benchmark: Benchmark) -> dict[str, str]:
    """Return what the prose cites."""
    found = {"engine/machine": source(benchmark)}
    for name in benchmark["workloads"]:
        ours = measured(benchmark, name).get("surgery")
        if ours:
            key = name.replace(" ", "-")
            found[f"engine/{key}/time"] = f"{ours['ratio']:.2f}"
            found[f"engine/{key}/memory"] = f"{ours['memory_ratio']:.2f}"
    return found


def claim_rows(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return the rounds of the decoder as rows: seconds and peak bytes of ``graph``, ``vmap`` and ``backward``."""
    arms = measured(benchmark, CLAIM_WORKLOAD)
    best = [min(times) for times in zip(*(r["seconds"] for a, r in arms.items() if plain(a)), strict=True)]
    leanest = min(r["peak_bytes"] for a, r in arms.items() if plain(a))
    series = {"backward": (best, leanest)}
    for name, arm in (("graph", "surgery"), ("vmap", "vmap")):
        series[name] = (arms[arm]["seconds"], arms[arm]["peak_bytes"])
    timed = [
        {"arm": arm, "seed": round_, "value": value, "diverged": False, "metric": metric}
        for arm, (seconds, peak) in series.items()
        for round_, second in enumerate(seconds)
        for metric, value in (("seconds", second), ("peak_bytes", float(peak)))
    ]
    counted = [
        {"arm": arm, "seed": index, "value": float(row[arm]), "diverged": False, "metric": "bytes"}
        for index, row in enumerate(benchmark["bytes"])
        for arm in ("per_example_gradients", "activations")
    ]
    return timed + counted


def plain(arm: str) -> bool:
    """Whether an arm is an ordinary, uncompiled forward and backward pass."""
    return arm.startswith("ordinary") and "compiled" not in arm
