"""What the report cost: runs, core hours and an estimate of energy, a line a study; plain values in, texts out.

Seconds were measured and lie beside each record; watts were not. The energy is an estimate from the two
constants below, which the report prints with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from regrad.report.tables import significant
from regrad.results import Circumstances, Record

# Watts of what a run keeps busy. Source: thermal design power by the makers' data sheets, of a 64-core AMD EPYC
# 7763 (280 W) divided by its cores, and of an NVIDIA H200 (700 W).
WATTS = {"cpu": 280 / 64, "cuda": 700.0}
# Memory, power supply and cooling on top of the processor: our assumption, no measurement.
OVERHEAD = 2.0
COLUMNS = ["study", "runs", "non-finite", "core hours", "Wh"]
NAMES = {"cpu": "processors", "cuda": "a GPU"}


class Cost(NamedTuple):
    """What one run took."""

    run: str  # its name; a run that two studies share is counted once in the total
    seconds: float  # wall-clock seconds, 0 where they were not kept
    cores: int
    device: str
    diverged: bool

    @property
    def core_hours(self) -> float:
        return self.seconds * self.cores / 3600

    @property
    def watt_hours(self) -> float:
        """Hours times the watts of what was busy, and of what stands around it."""
        # A GPU's board is busy as a whole; of a processor only the cores that the run kept busy.
        busy = self.core_hours if self.device == "cpu" else self.seconds / 3600
        return busy * WATTS[self.device] * OVERHEAD


def cost(record: Record, circumstances: Circumstances | None) -> Cost:
    # What a run took is kept beside its record and may be lost; the run counts all the same, as costing nothing.
    seconds, cores = (circumstances.seconds, circumstances.threads) if circumstances else (0.0, 1)
    return Cost(record.run_id, seconds, cores, record.fingerprint.device, not record.finite)


def once(costs: Iterable[Cost]) -> list[Cost]:
    # Studies share runs (a run's name has no study in it): by name, or the total would count them twice.
    return list({c.run: c for c in costs}.values())


def compute_table(studies: Mapping[str, Sequence[Cost]]) -> pd.DataFrame:
    """Return a line a study that trained, and one for all: runs, non-finite ones, core hours, watt hours."""
    lines = [_line(label, once(costs)) for label, costs in studies.items() if costs]
    total = once(c for costs in studies.values() for c in costs)
    return pd.DataFrame([*lines, _line("All, each run once", total)], columns=COLUMNS)


def _line(name: str, costs: list[Cost]) -> dict[str, str]:
    return {
        "study": name,
        "runs": f"{len(costs):,}",
        "non-finite": str(sum(c.diverged for c in costs)),
        "core hours": significant(sum(c.core_hours for c in costs), 2),
        "Wh": significant(sum(c.watt_hours for c in costs), 2),
    }


def numbers(studies: Mapping[str, Sequence[Cost]]) -> dict[str, str]:
    total = once(c for costs in studies.values() for c in costs)
    return {
        "compute/runs": f"{len(total):,}",
        "compute/core-hours": significant(sum(c.core_hours for c in total), 2),
        "compute/watt-hours": significant(sum(c.watt_hours for c in total), 2),
        "compute/longest": significant(max((c.seconds for c in total), default=0.0), 2),
        "compute/watts-cpu": significant(WATTS["cpu"], 2),
        "compute/watts-cuda": significant(WATTS["cuda"], 3),
        "compute/overhead": f"{OVERHEAD:g}",
        "compute/devices": " and ".join(sorted({NAMES[c.device] for c in total})) or "no machine",
    }
