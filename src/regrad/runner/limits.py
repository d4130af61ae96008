"""Seconds that the environment may set for long runs; no torch, so that a mistake is found before any work."""

import math
import os

CHECKPOINT, HANG = "REGRAD_CHECKPOINT_SECONDS", "REGRAD_HANG_SECONDS"
DEFAULTS = {CHECKPOINT: 300.0, HANG: 3600.0}
LEAST = {CHECKPOINT: 0.0, HANG: 0.1}


def seconds(variable: str) -> float:
    """Return the seconds between two checkpoints of a run, or those after which a run without a new step hangs.

    Raises:
        ValueError: The environment's value is not a number from the least on; the message is one line.
    """
    word = os.environ.get(variable, str(DEFAULTS[variable]))
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not LEAST[variable] <= value < math.inf:
        raise ValueError(f"{variable} is {word!r}; allowed: seconds, a number of at least {LEAST[variable]:g}")
    return value


def check() -> None:
    """Look at all of them (ValueError: the first that is wrong)."""
    for variable in DEFAULTS:
        seconds(variable)
