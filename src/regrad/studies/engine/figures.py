"""The figure of what per-example statistics cost: a benchmark's record in, figure out."""

from collections.abc import Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from regrad.report.palette import BLACK
from regrad.report.style import PAGE_INCHES, canvas
from regrad.studies.engine.arms import ARMS, Benchmark, workload_timings

COLUMNS = 4
# Memory ratios that get a label between the powers of ten.
MINOR = (0.3, 0.5, 2.0, 4.0)
WIDE = 5  # time ratios above this need a logarithmic axis


def fig_cost(benchmark: Benchmark) -> Figure:
    """Time against peak memory, both over the best ordinary step; a panel a workload."""
    workloads = list(benchmark["workloads"])
    with canvas(width=PAGE_INCHES, height=5.2, nrows=3, ncols=COLUMNS) as (figure, grid):
        handles: dict[str, Artist] = {}
        for axis, workload in zip(grid.flat, workloads, strict=False):
            handles |= draw_workload(axis, workload_timings(benchmark, workload))
            axis.set_title(workload.replace(" in ", "\nin "))
        for axis in grid.flat[max(0, len(workloads) - COLUMNS) : len(workloads)]:
            axis.set_xlabel("time ratio")
        for axis in grid[:, 0]:
            axis.set_ylabel("memory ratio")
        for axis in grid.flat[len(workloads) :]:
            axis.set_axis_off()
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure


def draw_workload(axis: Axes, timings: Mapping[str, Mapping[str, Any]]) -> dict[str, Artist]:
    """Draw a marker an arm, and a cross for the ordinary step; return the markers by label."""
    axis.plot(1, 1, "+", color=BLACK, ms=9, mew=1.2)
    handles: dict[str, Artist] = {}
    for name, timing in timings.items():
        if (arm := ARMS.get(name)) is not None:
            size = 6 if arm.ours else 4
            (handles[arm.label],) = axis.plot(
                timing["ratio"], timing["memory_ratio"], arm.marker, color=arm.color, ms=size
            )
    label_ratios(axis, wide=max(timing["ratio"] for timing in timings.values()) > WIDE)
    return handles


def label_ratios(axis: Axes, *, wide: bool) -> None:
    axis.set(xscale="log" if wide else "linear", yscale="log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        side.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    if not wide:
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value in MINOR else ""))
    axis.margins(0.1)
