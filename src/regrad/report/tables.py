"""Data frames as LaTeX tables, and numbers as the report prints them."""

import math
from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from regrad.report.latex import escape_tex
from regrad.report.outcomes import Outcomes
from regrad.statistics.intervals import Interval

NO_GAP = "no number, as there is no seed at which both ended"
NOT_RUN = "not run yet"
GATE_WORDS = "floor, bar, competent"  # of the line that has a task's three values


def to_latex(frame: pd.DataFrame, *, columns: str | None = None) -> str:
    """Return a ``tabular`` with booktabs rules; every text is escaped, the index is left out.

    Args:
        frame: Cells that are already formatted; ``$…$`` is not interpreted.
        columns: Column specification; the first left-aligned and the others right-aligned by default.
    """
    if frame.empty or has_not_run(frame):
        return rf"\emph{{{NOT_RUN}}}"
    shape = columns or "l" + "r" * (frame.shape[1] - 1)
    # Not pandas' own escaping, which leaves quotation marks, dashes and < > to be read as something else.
    escaped = frame.astype(str).map(escape_tex)
    escaped.columns = [escape_tex(str(c)) for c in frame.columns]
    return escaped.style.hide(axis="index").to_latex(hrules=True, column_format=shape)


def has_not_run(frame: pd.DataFrame) -> bool:
    """Whether no line of a table holds what a run gave: all say that they wait, but for those that a gate fills."""
    waits, gates = frame.eq(NOT_RUN).any(axis=1), frame.eq(GATE_WORDS).any(axis=1)
    measured = frame.map(lambda cell: " [" in str(cell)).any(axis=1)
    return bool(waits.any() and (waits & ~measured | gates).all())


def significant(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, without an exponent between 0.001 and 10,000."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    if -4 < exponent < 5:
        return f"{value:.{max(0, digits - 1 - exponent)}f}"
    return f"{value:.{digits - 1}e}"


def with_interval(estimate: float, low: float, high: float, digits: int = 3) -> str:
    """Return ``"estimate [low, high]"`` with ``digits`` decimals; without an infinite interval."""
    finite = math.isfinite(low) and math.isfinite(high)
    return f"{estimate:.{digits}f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if finite else "")


def interval_text(interval: Interval | None, absent: str = "", digits: int = 3) -> str:
    """Return an estimate with its interval, or ``absent`` where there is none."""
    return with_interval(interval.estimate, interval.low, interval.high, digits) if interval else absent


def end_text(own: Outcomes, metric: str = "test_loss", digits: int = 3) -> str:
    """Return the final number of one arm's results with its interval; without one, why.

    Args:
        own: All runs of the arm, those of tuning among them: an arm may have diverged there.
        metric: Which final number.
        digits: Decimals.
    """
    runs = own.fresh or own.results
    return interval_text(runs.mean(metric), why_no_end(own), digits)


def why_no_end(own: Outcomes) -> str:
    """Return why an arm has no final number: it diverged, or was not run."""
    return "diverged" if own.ran else NOT_RUN


def gap_text(gap: Interval | None, *arms: Outcomes, digits: int = 3) -> str:
    """Return a paired difference for prose; empty, and so not cited, where one of the arms has not run."""
    return interval_text(gap, NO_GAP if all(own.ran for own in arms) else "", digits)


def diverged_text(results: Outcomes) -> str:
    """Return how many of how many runs diverged; empty without runs."""
    return f"{results.diverged}/{len(results)}" if len(results) else ""


def seeds_text(runs: Outcomes) -> str:
    """Return how many fresh seeds the arms of some parts have: ``"5"``, or ``"5 to 10"`` where they differ."""
    arms = (arm for part in runs.split("part").values() for arm in part.split("arm").values())
    counts = sorted({len(arm.by_seed) for arm in arms}) or [0]
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def lost_text(runs: Outcomes, on_purpose: Outcomes, where: str) -> str:
    """Return how many runs diverged, as a clause that ``of which`` could begin.

    Args:
        runs: All of a study, each once.
        on_purpose: Those of them that look for where training fails.
        where: What these were made for, ``"in the grid of learning rates"``.
    """
    if not runs.diverged:
        return "none of which became non-finite or ended above its untrained model"
    told = f"of which {runs.diverged} became non-finite or ended above their untrained model"
    meant = "all" if on_purpose.diverged == runs.diverged else str(on_purpose.diverged)
    return f"{told}, {meant} of them on purpose {where}" if on_purpose.diverged else told


def typical(values: Sequence[float]) -> str:
    """Return the geometric mean in words; a miss (inf) is counted beside it, never averaged.

    It is 0 where one of the values is: of a run that was there before its first step.
    """
    finite = [value for value in values if math.isfinite(value)]
    missed = len(values) - len(finite)
    # Geometric: steps to a target and stable rates differ by factors, and one slow seed must not be the mean.
    mean = math.exp(fmean(map(math.log, finite))) if finite and all(finite) else 0.0
    text = significant(mean, 3) if finite else ""
    return text + (f" ({missed} missed)" if missed else "")
