"""How a run went: time, memory, machine, commit."""

import platform
import resource
from functools import cache
from pathlib import Path

import torch

from regrad.provenance import commit
from regrad.results import Circumstances


@cache
def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def begin(device: str) -> None:
    """Forget what earlier runs of this process took on the device, and give back what they left."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measured(seconds: float, device: str) -> Circumstances:
    on_gpu = device == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Circumstances(
        seconds=seconds,
        peak_bytes=peak,
        threads=torch.get_num_threads(),
        commit=commit(),
        machine=torch.cuda.get_device_name() if on_gpu else processor(),
    )
