"""The ways to per-example statistics that the benchmark times, and which of them a workload's record has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regrad.report.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED
from regrad.studies.study import Arm

Benchmark = Mapping[str, Any]


@dataclass(frozen=True)
class Method(Arm):
    """One way; several modes of one library share a colour."""

    ours: bool = False  # whether it is this project's


ARMS: dict[str, Method] = {
    arm.name: arm
    for arm in (
        Method("surgery", "surgery (ours)", BLUE, "D", ours=True),
        Method("vmap", "vmap", RED, "o"),
        Method("vmap, chunks of 4", "vmap in chunks", RED, "v"),
        Method("vmap, chunks of 16", "vmap in chunks", RED, "v"),
        Method("vmap, compiled", "vmap, compiled", RED, "*"),
        Method("ExpandedWeights", "ExpandedWeights", ORANGE, "s"),
        Method("micro-batch loop", "micro-batch loop", GREY, "X"),
        Method("Opacus hooks", "Opacus hooks", GREEN, "^"),
        Method("Opacus functorch", "Opacus functorch", GREEN, "<"),
        Method("Opacus ghost (norms only)", "Opacus ghost (norms only)", GREEN, ">"),
        Method("BackPACK SumGradSquared", "BackPACK SumGradSquared", PINK, "P"),
        Method("BackPACK BatchGrad", "BackPACK BatchGrad", PINK, "h"),
    )
}
# An ordinary step, which the others are divided by; never a compiled one.
ORDINARY = ("ordinary", "ordinary, our product", "ordinary, plain attention")
SAME_PRODUCT = "ordinary, our product"  # its dense layers take the surgery's matrix product for their weights


def workload_timings(benchmark: Benchmark, workload: str) -> dict[str, Mapping[str, Any]]:
    return {arm: timing for arm, timing in benchmark["workloads"][workload].items() if "ratio" in timing}
