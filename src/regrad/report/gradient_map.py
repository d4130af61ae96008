"""Where each method acts between the loss and the weights: one picture of code, no run in it."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from regrad.report.palette import BLUE, GREEN, ORANGE, PINK
from regrad.report.style import PAGE_INCHES, canvas

STATIONS = (
    ("loss", "of each example"),
    ("example gradients", "B rows, one each"),
    ("batch gradient", "their mean"),
    ("moving average", "over steps"),
    ("update", "moves the weights"),
)
WIDE, HIGH, STEP = 1.14, 0.4, 1.4  # inches: a station, and from one to the next


class Pin(NamedTuple):
    """A method's place in the chain."""

    station: int
    row: int
    name: str
    does: str
    color: str


PINS = (
    Pin(0, 0, "ALSDGC", "multiplies the loss\nby a scale", ORANGE),
    Pin(1, 0, "Sign of examples", "sign before the mean", BLUE),
    Pin(1, 1, "MicroAdam", "squares before the mean", BLUE),
    Pin(2, 0, "Sign of the batch", "sign of the mean", BLUE),
    Pin(2, 1, "DGS", "divides by a sum of |g|\nor by each own |g|", GREEN),
    Pin(2, 2, "ALSDGC", "clips at a threshold", ORANGE),
    Pin(3, 0, "Sign of the average", "signum", BLUE),
    Pin(4, 0, "SGG", "scales groups of entries\nof similar momentum", PINK),
)


def fig_gradient_map() -> Figure:
    """Draw the chain from loss to update, each method under the place where it acts."""
    with canvas(width=PAGE_INCHES, height=1.95) as (figure, axes):
        axes.set(xlim=(0, PAGE_INCHES), ylim=(0, 1.95))
        axes.axis("off")
        for place, (name, what) in enumerate(STATIONS):
            station(axes, place, name, what)
        for pin in PINS:
            put(axes, pin)
    return figure


def station(axes: Axes, place: int, name: str, what: str) -> None:
    left = 0.05 + place * STEP
    box = FancyBboxPatch((left, 1.5), WIDE, HIGH, "round,pad=0.02", fc="#F2F4F7", ec="#606060", lw=0.8)
    axes.add_patch(box)
    middle = left + WIDE / 2
    axes.text(middle, 1.78, name, ha="center", va="center", weight="bold")
    axes.text(middle, 1.61, what, ha="center", va="center", color="#505050")
    if place:
        ends = (left - STEP + WIDE + 0.03, 1.7), (left - 0.03, 1.7)
        axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=7, color="#606060", lw=0.9))


def put(axes: Axes, pin: Pin) -> None:
    left, top = 0.05 + pin.station * STEP, 1.36 - 0.46 * pin.row
    axes.plot([left, left], [top - 0.34, top], color=pin.color, lw=2.2, solid_capstyle="butt")
    axes.text(left + 0.06, top, pin.name, va="top", weight="bold", color=pin.color)
    axes.text(left + 0.06, top - 0.125, pin.does, va="top", linespacing=1.05)
