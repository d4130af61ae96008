"""A run whose steps stop coming is ended, so that a sweep does not wait for it forever."""

import faulthandler
import math
import signal
import time
from types import FrameType
from typing import Any

from regrad.runner.limits import HANG, seconds

GRACE = 60.0  # seconds for Python to answer; code that never returns to it is ended with its process
LATE = 10.0  # seconds after the end of time in which a run may still finish its step and keep a checkpoint


class HangError(RuntimeError):
    """A run took no step for longer than it may."""


class OutOfTime(BaseException):
    """The time for runs is over; what a run's checkpoint has is kept. No error, and nothing may take it for one."""


class Watch:
    """An alarm that goes off unless it is put off.

    It raises `HangError` in the main thread, or `OutOfTime` where time was over ``LATE`` seconds ago: an evaluation or
    the making of data may take longer than a stretch has left. Where that is stuck in native code (a collective
    operation whose partner is gone), the process prints where it stands and ends, at the latest ``GRACE`` seconds and
    a tenth of the limit later; runs that die with their process are tried again by the executor, then by the next call.

    Args:
        limit: Seconds; None asks the environment's ``REGRAD_HANG_SECONDS``.
        until: When time is over, as `time.time` has it.
    """

    def __init__(self, limit: float | None = None, until: float = math.inf) -> None:
        self.limit, self.until = seconds(HANG) if limit is None else limit, until
        self.before: tuple[Any, float] | None = None
        self.armed = 0.0

    def begin(self) -> None:
        """Watch the end of time alone: data may take as long as they do; for the main thread."""
        if self.until < math.inf:
            self._set(math.inf)

    def put_off(self) -> None:
        """Start to count anew; for the main thread, which alone answers signals."""
        self._set(self.limit)
        if time.monotonic() - self.armed >= self.limit / 10:  # the other clock is a thread: not at every step
            faulthandler.dump_traceback_later(1.1 * self.limit + GRACE, exit=True, file=2)
            self.armed = time.monotonic()

    def _set(self, limit: float) -> None:
        if self.before is None:
            handler = signal.signal(signal.SIGALRM, self._ring)
            self.before = handler, signal.getitimer(signal.ITIMER_REAL)[0]
        signal.setitimer(signal.ITIMER_REAL, min(limit, max(0.01, self.until + LATE - time.time())))

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
        if time.time() >= self.until + LATE:
            raise OutOfTime
        raise HangError(f"no step in {self.limit:g} s: it hangs ({HANG} says how long it may take)")
