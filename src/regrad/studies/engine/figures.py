"""The figure of what per-example statistics cost: a benchmark's record in, figure out."""

from collections.abc import Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from regrad.report.palette import BLACK
from regrad.report.style import PAGE_INCHES, canvas
from regrad.studies.engine.arms import ARMS, Benchmark, workload_timings

SIDES = (("ratio", "time ratio"), ("memory_ratio", "peak-memory ratio"))


def fig_cost(benchmark: Benchmark) -> Figure:
    """Time and peak memory, both over the best ordinary step: a line a workload, a marker a method."""
    workloads = list(benchmark["workloads"])
    timings = [workload_timings(benchmark, workload) for workload in workloads]
    with canvas(width=PAGE_INCHES, height=1.05 + 0.17 * len(workloads), ncols=2, sharey=True) as (figure, axes):
        handles: dict[str, Artist] = {}
        for axis, (key, label) in zip(axes, SIDES, strict=True):
            axis.axvline(1, color=BLACK, lw=0.8)
            for place, found in enumerate(timings):
                handles |= draw_workload(axis, -place, found, key)
            axis.set(xlabel=f"{label}, ordinary pass = 1", xscale="log")
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axes[0].set_yticks([-place for place in range(len(workloads))], workloads)
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure


def draw_workload(axis: Axes, place: float, timings: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, Artist]:
    """Draw a marker a method on one line, ours last and larger; return the markers by label."""
    handles: dict[str, Artist] = {}
    known = [(ARMS[name], timing) for name, timing in timings.items() if name in ARMS]
    for arm, timing in sorted(known, key=lambda pair: pair[0].ours):
        size = 5.5 if arm.ours else 3.5
        (handles[arm.label],) = axis.plot(timing[key], place, arm.marker, color=arm.color, ms=size)
    return handles
