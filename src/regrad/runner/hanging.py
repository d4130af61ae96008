"""A run whose steps stop coming is ended, so that a sweep does not wait for it forever."""

import faulthandler
import signal
import time
from types import FrameType
from typing import Any

from regrad.runner.limits import HANG, seconds

GRACE = 60.0  # seconds for Python to answer; code that never returns to it is ended with its process


class HangError(RuntimeError):
    """A run took no step for longer than it may."""


class Watch:
    """An alarm that goes off unless it is put off.

    It raises `HangError` in the main thread. Where that is stuck in native code (a collective operation whose
    partner is gone), the process prints where it stands and ends, at the latest ``GRACE`` seconds and a tenth of
    the limit later; runs that die with their process are tried again by the executor, then by the next call.

    Args:
        limit: Seconds; None asks the environment's ``REGRAD_HANG_SECONDS``.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = seconds(HANG) if limit is None else limit
        self.before: tuple[Any, float] | None = None
        self.armed = 0.0

    def put_off(self) -> None:
        """Start to count anew; for the main thread, which alone answers signals."""
        if self.before is None:
            handler = signal.signal(signal.SIGALRM, self._ring)
            self.before = handler, signal.getitimer(signal.ITIMER_REAL)[0]
        signal.setitimer(signal.ITIMER_REAL, self.limit)
        if time.monotonic() - self.armed >= self.limit / 10:  # the other clock is a thread: not at every step
            faulthandler.dump_traceback_later(1.1 * self.limit + GRACE, exit=True, file=2)
            self.armed = time.monotonic()

    def end(self) -> None:
        """Take the alarm away, and give back what was set before it."""
        if self.before is None:
            return
        faulthandler.cancel_dump_traceback_later()
        handler, remaining = self.before
        signal.setitimer(signal.ITIMER_REAL, remaining)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        self.before, self.armed = None, 0.0

    def _ring(self, number: int, frame: FrameType | None) -> None:
        raise HangError(f"no step in {self.limit:g} s: it hangs ({HANG} says how long it may take)")
