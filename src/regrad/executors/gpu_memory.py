"""How many runs fit on one GPU at a time, from what such runs were measured to take. Imports no torch."""

import os
import shutil
import subprocess
from collections.abc import Iterable

CONTEXT = 700 << 20  # bytes: what a process takes before its first tensor: CUDA's context, its libraries' kernels
SLACK = 1.5  # what torch's allocator holds over what tensors take at their peak
SHARE = 0.9  # of what is free


def free_bytes() -> int:
    """Return the free memory of the GPU that processes started here see first; 0 where nobody says."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    asked = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits", f"--id={visible}"]
    said = subprocess.run(asked, capture_output=True, text=True)
    first = said.stdout.split("\n")[0].strip()
    return int(first) << 20 if said.returncode == 0 and first.isdecimal() else 0


def fitting(peaks: Iterable[int], free: int, cores: int) -> int:
    """Return how many runs to have at a time: as many as fit if all were as large as the largest, one a core at most.

    Args:
        peaks: Bytes that each took on the GPU when it, or one of its kind, was measured.
        free: Bytes.
        cores: Of this machine.
    """
    largest = max(peaks, default=0)
    return max(1, min(cores, int(SHARE * free / (CONTEXT + SLACK * largest))))
