"""What can be moved in a playground, as plain values: widgets are made of these, and papermill needs none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regrad.results import suggestion


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    options: tuple[str, ...]
    value: str = ""  # the first one where it is empty
    words: tuple[str, ...] = ()  # what readers see of each, where that is something else

    @property
    def shown(self) -> tuple[str, ...] | tuple[tuple[str, str], ...]:
        """The options as a list shows them: its words, and what each stands for."""
        return tuple(zip(self.words, self.options, strict=True)) if self.words else self.options

    @property
    def default(self) -> str:
        return self.value if self.value in self.options else self.options[0]

    def check(self, name: str, value: Any) -> str:
        """Return the value, or raise ValueError with the nearest word."""
        if value not in self.options:
            raise ValueError(f"{name} = {value!r}{suggestion(str(value), list(self.options))}")
        return value


@dataclass(frozen=True)
class Dial(Choice):
    """One of several words in an order, such as the rates of a grid: moved, not looked up."""


@dataclass(frozen=True)
class Slider:
    """A number in a range; ``log`` if equal ways are equal ratios."""

    low: float
    high: float
    value: float
    step: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def default(self) -> float:
        return self.value

    def check(self, name: str, value: Any) -> float:
        """Return the value, or raise ValueError with the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if not number or not self.low - slack <= value <= self.high + slack or (self.whole and value != int(value)):
            kind = "a whole number" if self.whole else "a number"
            raise ValueError(f"{name} = {value!r}; allowed: {kind} from {self.low:g} to {self.high:g}")
        return int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Switch:
    """Yes or no."""

    value: bool = False

    @property
    def default(self) -> bool:
        return self.value

    def check(self, name: str, value: Any) -> bool:
        """Return the value, or raise ValueError."""
        if not isinstance(value, bool):
            raise ValueError(f"{name} = {value!r}; allowed: True, False")
        return value


Control = Choice | Slider | Switch


def started(controls: Mapping[str, Control], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for each control: the given one, checked, else its default.

    Raises:
        ValueError: One line: an unknown name, or a value that is not allowed.
    """
    for name in given:
        if name not in controls:
            raise ValueError(f"no control {name!r}{suggestion(name, list(controls))}")
    return {name: c.check(name, given[name]) if name in given else c.default for name, c in controls.items()}


def kept(controls: Mapping[str, Control], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for each control: the one it had where that is still allowed, else its default."""
    found = {}
    for name, control in controls.items():
        try:
            found[name] = control.check(name, values[name]) if name in values else control.default
        except ValueError:
            found[name] = control.default
    return found
