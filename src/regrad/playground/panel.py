"""The widgets around a playground. Only this module knows ipywidgets."""

import html
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from regrad.playground.controls import Choice, Control, Dial, Slider, Switch
from regrad.playground.explore import Explored

WIDE = {"description_width": "initial"}
READOUT = ".4g"


def widget(name: str, control: Control, value: Any) -> widgets.Widget:
    """Return the widget of a control; a slider tells its value when it is let go."""
    about: dict[str, Any] = {"description": name.replace("_", " "), "style": WIDE}
    if isinstance(control, Dial):
        return widgets.SelectionSlider(options=control.options, value=value, continuous_update=False, **about)
    if isinstance(control, Choice):
        return widgets.Dropdown(options=control.shown, value=value, layout={"width": "auto"}, **about)
    if isinstance(control, Switch):
        return widgets.Checkbox(value=value, indent=False, **about)
    about |= {"value": value, "continuous_update": False}
    return slider(control, about)


def slider(control: Slider, about: dict[str, Any]) -> widgets.Widget:
    if control.log:
        from math import log10

        ends = {"min": log10(control.low), "max": log10(control.high), "step": control.step or 0.05}
        return widgets.FloatLogSlider(readout_format=READOUT, **ends, **about)
    if control.whole:
        return widgets.IntSlider(min=int(control.low), max=int(control.high), step=int(control.step) or 1, **about)
    step = control.step or (control.high - control.low) / 100
    return widgets.FloatSlider(min=control.low, max=control.high, step=step, readout_format=READOUT, **about)


class Panel:
    """Controls above a picture, each of which draws it anew."""

    def __init__(self, explored: Explored) -> None:
        self.explored, self.quiet = explored, False
        picture, text = explored.first
        self.picture = widgets.Image(value=picture, format="png", layout={"max_width": "100%", "width": "900px"})
        self.text, self.said = widgets.HTML(in_lines(text)), widgets.HTML()
        self.widgets: dict[str, widgets.Widget] = {}
        self.fits: dict[str, Control] = {}  # what each was made for
        self.row = widgets.Box(layout={"flex_flow": "row wrap"})
        self.box = widgets.VBox([self.row, self.said, self.picture, self.text])
        self.show(explored.controls(explored.values))

    def show(self, controls: Mapping[str, Control]) -> None:
        """Make the widgets fit the controls: new ones, those that went, other choices."""
        self.quiet = True
        made = {name: self.fitted(name, control) for name, control in controls.items()}
        self.widgets, self.fits, self.quiet = made, dict(controls), False
        if tuple(made.values()) != self.row.children:
            self.row.children = tuple(made.values())

    def fitted(self, name: str, control: Control) -> widgets.Widget:
        """Return the widget of a control: the one that is there, if it can be made to fit."""
        value, old = self.explored.values[name], self.fits.get(name)
        found = self.widgets[name] if old is not None and alike(old, control) else None
        if found is None:
            found = widget(name, control, value)
            found.observe(self.moved, names="value")
        elif isinstance(control, Choice) and tuple(found.options) != control.shown:
            found.options = control.shown
        found.value = value
        return found

    def moved(self, _: Any) -> None:
        """Draw what the widgets say; a mistake is one line above the last good picture."""
        if self.quiet:
            return
        try:
            self.explored.change(**{name: one.value for name, one in self.widgets.items()})
            self.show(self.explored.controls(self.explored.values))
            self.picture.value, text = self.explored.png()
            self.text.value, self.said.value = in_lines(text), ""
        except (ValueError, RuntimeError) as error:
            self.said.value = in_lines((str(error).splitlines() or [type(error).__name__])[0])


def alike(old: Control, new: Control) -> bool:
    """Return whether one widget can show both: they differ in their values or words only."""
    if isinstance(old, Slider) and isinstance(new, Slider):
        return replace(old, value=new.value) == new
    return type(old) is type(new)


def in_lines(text: str) -> str:
    """Return plain text as HTML, its lines kept."""
    style = "white-space: pre-wrap; font-size: 12px; line-height: 1.4"
    return f'<pre style="{style}">{html.escape(text)}</pre>' if text else ""
