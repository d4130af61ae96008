"""Kind of test to the function that decides it."""

from collections.abc import Callable
from typing import Any

from regrad.report.kinds.construction import construction
from regrad.report.kinds.outcome import Outcome
from regrad.report.kinds.prediction import prediction
from regrad.report.kinds.rate import rate
from regrad.report.kinds.ratio import ratio
from regrad.report.kinds.rows import Rows
from regrad.report.kinds.trend import trend
from regrad.report.kinds.versus import paired, spread

DECIDE: dict[str, Callable[[Any, Rows], Outcome]] = {
    "construction": construction,
    "paired": paired,
    "prediction": prediction,
    "rate": rate,
    "ratio": ratio,
    "spread": spread,
    "trend": trend,
}
