"""How every figure looks: sizes in column widths, lines and letters, a stamp."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from regrad.report.tables import NOT_RUN

COLUMN_INCHES = 3.35  # of the report, so that no letter shrinks on its way there
PAGE_INCHES = 7.0
LINE_INCHES = 0.36  # a figure without a run: a line that says so, over its stamp

SETTINGS: Any = sns.axes_style("ticks") | {
    "font.family": "DejaVu Sans",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # TrueType: text in a figure can be searched and copied
    "svg.hashsalt": "regrad",
    "figure.dpi": 160,
    "savefig.dpi": 200,
}


@contextmanager
def canvas(*, width: float = COLUMN_INCHES, height: float = 2.4, **subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its axes in our style; ``subplots`` as for ``Figure.subplots``."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(**subplots)


class FewRates(LogLocator):
    """Ticks at 1, 2 and 5 of each decade where an axis has few of them, else at its decades."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        self.set_params(subs=(1, 2, 5) if vmax < 100 * vmin else (1,))
        return super().tick_values(vmin, vmax)


def rate_text(lr: float) -> str:
    """Return a rate as narrow as it can be said: a power of ten by its exponent."""
    exponent = np.log10(lr)
    return f"$10^{{{exponent:.0f}}}$" if np.isclose(exponent, round(exponent)) else f"{lr:g}"


def rate_axis(axis: Axes) -> None:
    """Make a horizontal axis one of learning rates, whose labels fit into a narrow panel."""
    axis.set(xscale="log", xlabel="learning rate (log scale)")
    axis.xaxis.set_major_locator(FewRates())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda lr, _: f"{lr:g}" if lr >= 1e-4 else rate_text(lr)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def is_empty(axis: Axes) -> bool:
    """Whether nothing in an axis lies at places of its data: reference lines and words alone show no run."""
    lines = [line for line in axis.lines if np.size(line.get_xdata())]
    bars = [patch for patch in axis.patches if np.isfinite(patch.get_extents().get_points()).all()]
    images = [
        image for image in axis.images if np.isfinite(np.ma.filled(np.ma.asarray(image.get_array()), np.nan)).any()
    ]
    drawn = [*lines, *bars, *images]
    placed = any(all(artist.get_transform().contains_branch_seperately(axis.transData)) for artist in drawn)
    limits = (collection.get_datalim(axis.transData) for collection in axis.collections)
    return axis.axison and not placed and not any(np.isfinite(box.get_points()).all() for box in limits)


def say_where_empty(figure: Figure) -> None:
    """Write into each axis of a figure that shows no run that it has none yet, in place of its ticks and legend.

    Of a figure whose axes are all empty one line of words is left.
    """
    empty = [axis for axis in figure.axes if is_empty(axis)]
    if empty and len(empty) == sum(axis.axison for axis in figure.axes):
        figure.clear()
        figure.set_size_inches(figure.get_figwidth(), LINE_INCHES)
        figure.text(0.005, 0.9, f"{NOT_RUN}: no run that it would show is made", va="top", color="#606060", fontsize=7)
        return
    for axis in empty:
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.text(0.5, 0.5, NOT_RUN, ha="center", va="center", color="#606060", transform=axis.transAxes)
        if (legend := axis.get_legend()) is not None:
            legend.remove()


def put_stamp(figure: Figure, text: str) -> None:
    """Write the beginning of a stamp under everything else; the file's metadata have it whole."""
    text = " · ".join(text.split(" · ")[:4])
    # The constrained layout fills what it is given: it is given all but the stamp's line.
    engine = figure.get_layout_engine()
    share = 0.16 / figure.get_size_inches()[1]
    if engine is not None:
        engine.set(rect=(0, share, 1, 1 - share))  # type: ignore[call-arg]
    figure.text(0.005, 0.004, text, fontsize=7, color="#606060", ha="left", va="bottom", family="DejaVu Sans")
