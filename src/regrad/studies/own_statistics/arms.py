"""The two arms of the guide: Adam on the mean gradient, and on the mean of a function of each example's gradient."""

from regrad.report.palette import BLUE, SKY
from regrad.studies.study import Arm

MEAN = Arm("mean", "Adam on the mean", BLUE, "D")


def arm_of(function: str) -> Arm:
    """Return the arm of a function in ``torch``; whichever a reader tries looks the same."""
    return Arm(function, f"Adam on the mean of {function}", SKY, "P")
