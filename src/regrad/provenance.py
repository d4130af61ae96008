"""Where the code comes from: the commit that stamps and records name."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def commit() -> str:
    """Return the checked-out commit (12 digits, ``+`` if files changed since); ``unknown`` outside git."""
    here = str(Path(__file__).parent)
    try:
        command = ["git", "-C", here, "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
