"""Acts on: per-example gradients. What makes a step slow is named once: the function, its weights, what would help.

Two ways are exact and dear: a function without a rule, carried out example by example (`rules/fallback.py`), and a
weight that the forward pass takes apart or computes another one from (`ledger.py`). Both are timed, on a CPU, where a
clock tells what a call costs.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

# A step that costs so many times what it would without is worth a line, unless it is over in a moment anyway; what has
# less than this share in it is not named.
_DEAR, _MOMENT, _SHARE = 1.5, 1e-3, 0.1

NO_RULE = (
    "it has no rule, so each example's gradient is formed whole. Linear layers, convolutions, einsum, "
    "functional.embedding and arithmetic have one; register_rule gives one to a module of yours"
)
IN_PARTS = (
    "the forward pass uses parts of it, or computes another weight from it, so each example's gradient is formed "
    "whole. Freeze it, or make what is used a parameter of its own"
)

# What has been said, so that it is said once.
said: set[tuple[str, str]] = set()


@dataclass
class Stopwatch:
    """Seconds of one forward and backward pass, and what of them an ordinary step would not spend."""

    total: float = 0.0
    extra: dict[tuple[str, str], float] = field(default_factory=dict)  # by what is slow, and why

    @contextmanager
    def step(self) -> Iterator[None]:
        """While active, the pass runs."""
        start = time.perf_counter()
        yield
        self.total += time.perf_counter() - start

    @contextmanager
    def slow(self, what: str, why: str, *, ordinary: float = 0.0, share: float = 1.0) -> Iterator[None]:
        """While active, a slow path runs.

        Args:
            what: to be named.
            why: likewise, with the remedy.
            ordinary: seconds that an ordinary step spends on the same.
            share: of the time that it would not spend.
        """
        start = time.perf_counter()
        yield
        seconds = max(0.0, (time.perf_counter() - start) * share - ordinary)
        self.extra[what, why] = self.extra.get((what, why), 0.0) + seconds

    def tell(self) -> None:
        """Warn of what makes the step dear, once of each."""
        extra = sum(self.extra.values())
        rest = max(self.total - extra, 1e-9)
        if extra < _MOMENT or self.total < _DEAR * rest:
            return
        for (what, why), seconds in self.extra.items():
            if (what, why) not in said and seconds > _SHARE * extra:
                said.add((what, why))
                ratio = (rest + seconds) / rest
                logger.warning("a step with per-example statistics takes %.1f x as long for %s: %s", ratio, what, why)
