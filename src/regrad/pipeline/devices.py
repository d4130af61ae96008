"""Which device and preset fit this machine, found out without importing torch."""

import shutil
import subprocess

from regrad.executors.choice import gives_gpus


def gpu_is_there() -> bool:
    """Return whether the NVIDIA driver lists a GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True)
    return listed.returncode == 0 and "GPU" in listed.stdout


def choose_device(wanted: str) -> str:
    """Return ``"cpu"`` or ``"cuda"``.

    Raises:
        RuntimeError: ``cuda`` is wanted and there is none: refused before any work.
        ValueError: A setting of the executor is wrong.
    """
    if wanted == "cuda" and gives_gpus():
        return "cuda"
    if wanted == "cpu" or (wanted == "auto" and not gpu_is_there()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise RuntimeError("--device cuda: torch finds no usable GPU here; allowed: auto, cpu")


def default_preset(device: str) -> str:
    """Return the preset that fits a device: ``full`` with a GPU, ``small`` without."""
    return "full" if device == "cuda" else "small"
