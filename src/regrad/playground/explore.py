"""A playground: what can be moved, and the picture that follows. An ordinary figure where there are no widgets.

``explore`` shows the figure of the starting values. Where somebody looks on and ipywidgets is installed, controls stand
above it and every change draws it anew. Under papermill, nbconvert or without ipywidgets the figure stands alone, and
equal values give equal bytes.
"""

import io
import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import matplotlib as mpl
from matplotlib.figure import Figure

from regrad.playground.controls import Control, kept, started
from regrad.report.style import SETTINGS

DOTS_PER_INCH = 130
WATCHED = ("JPY_SESSION_NAME", "VSCODE_PID")  # set for kernels whose outputs somebody can click on


class View(NamedTuple):
    """What a playground shows."""

    figure: Figure
    text: str = ""  # under the figure, as it stands


Controls = Callable[[Mapping[str, Any]], Mapping[str, Control]]
Draw = Callable[..., View]


class Playground(Protocol):
    """A module of two plain functions of a state, such as the published records."""

    def controls(self, state: Any, values: Mapping[str, Any], /) -> Mapping[str, Control]:
        """Return what can be moved, as it depends on the values so far."""

    def draw(self, state: Any, /, **values: Any) -> View:
        """Return the picture of the values."""


def png(figure: Figure) -> bytes:
    """Return a figure as a screen needs it; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def has_widgets() -> bool:
    """Return whether controls can be shown: ipywidgets is there, and a browser beside the kernel."""
    watched = any(name in os.environ for name in WATCHED) or "pyodide" in sys.modules
    return watched and find_spec("ipywidgets") is not None


class Explored:
    """A playground with its values; showing it draws it."""

    def __init__(self, playground: Playground, state: Any, start: Mapping[str, Any]) -> None:
        self.controls: Controls = partial(playground.controls, state)
        self.draw: Draw = partial(playground.draw, state)
        # Which choices there are depends on other choices: the given ones count from the first to the last.
        self.values = started(self.controls(start), start)

    def change(self, **values: Any) -> None:
        """Take over values; those that do not go with them any more become defaults."""
        self.values = kept(self.controls(self.values | values), self.values | values)

    def png(self) -> tuple[bytes, str]:
        """Return the picture of the values, and the text under it."""
        view = self.draw(**self.values)
        return png(view.figure), view.text

    @cached_property
    def first(self) -> tuple[bytes, str]:
        """The picture and text of the starting values."""
        return self.png()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        picture, text = self.first
        shown: dict[str, Any] = {"image/png": picture, "text/plain": text or "a picture"}
        if has_widgets():
            from regrad.playground.panel import Panel

            shown |= Panel(self).box._repr_mimebundle_()
        return shown


class Mistake:
    """What is wrong with a starting value, in one line."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __repr__(self) -> str:
        return self.line


def explore(playground: Any, state: Any = None, **start: Any) -> Explored | Mistake:
    """Return a playground, to be shown by the notebook.

    Args:
        playground: A module with ``controls`` and ``draw``.
        state: What both are given first.
        start: Values to begin with; the others are defaults. A wrong one is said in one line.
    """
    try:
        explored = Explored(playground, state, start)
        explored.first  # noqa: B018 - a mistake shows when it is drawn
    except ValueError as error:
        return Mistake(str(error).splitlines()[0])
    return explored
