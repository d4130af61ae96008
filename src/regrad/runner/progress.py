"""Progress of a sweep: a live bar with ETA on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

QUIET_SECONDS = 15.0


def duration(seconds: float) -> str:
    """Return seconds in words: ``"45 s"``, ``"3 min"``, ``"2.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class SweepProgress:
    """Counts finished, diverged and failed runs of one sweep and shows what is left.

    ``expected``: the seconds that each run to do is expected to take, 0 where nobody knows.
    """

    def __init__(self, title: str, expected: Sequence[float], console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self.title, self.total = title, len(expected)
        known = [seconds for seconds in expected if seconds]
        self.typical = sum(known) / len(known) if known else 1.0
        self.load, self.carried = sum(seconds or self.typical for seconds in expected), 0.0
        self.done = self.diverged = self.failed = self.put_off = 0
        self.start = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(title, total=self.total, note="")

    def __enter__(self) -> "SweepProgress":
        self.bar.start()
        if not self.console.is_terminal and self.total:
            self.console.print(f"{self.title}: {self.total} runs to do", highlight=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def note(self) -> str:
        elapsed = time.monotonic() - self.start
        left = elapsed / self.carried * (self.load - self.carried) if self.carried else 0.0
        wrong = [f"{n} {what}" for n, what in ((self.diverged, "diverged"), (self.failed, "failed")) if n]
        wrong += [f"{self.put_off} put off"] if self.put_off else []
        return ", ".join([*wrong, f"about {duration(left)} left" if self.done < self.total else "done"])

    def advance(self, status: str, expected: float = 0.0) -> None:
        """Count one run that ended as ``"finished"``, ``"diverged"``, ``"failed"`` or ``"put off"``."""
        self.done += 1
        self.carried += expected or self.typical
        self.put_off += status == "put off"
        self.diverged += status == "diverged"
        self.failed += status == "failed"
        self.bar.update(self.task, advance=1, note=self.note())
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.last_line > QUIET_SECONDS or self.done == self.total):
            self.last_line = now
            self.console.print(f"{self.title}: {self.done}/{self.total} runs, {self.note()}", highlight=False)
