"""Checks of hyperparameters: one clear ValueError with the name, the value and the allowed range.

Every check refuses nan, infinities, booleans passed as numbers, and anything that is not a number.
"""

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(name: str, value: Any, allowed: str) -> None:
    shown = " ".join(repr(value).split())  # a Tensor's repr has several lines
    raise ValueError(f"{name} must be {allowed}, got {shown}")


def positive(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number > 0."""
    if not _is_finite_number(value) or value <= 0:
        _refuse(name, value, "a finite number > 0")


def non_negative(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number >= 0."""
    if not _is_finite_number(value) or value < 0:
        _refuse(name, value, "a finite number >= 0")


def learning_rate(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number >= 0, or a one-element Tensor of one."""
    # A Tensor is known by its method: importing torch would cost a plan, which checks too, seconds.
    number = value.item() if hasattr(value, "numel") and value.numel() == 1 else value
    if not _is_finite_number(number) or number < 0:
        _refuse(name, value, "a finite number >= 0, or a Tensor with one such element")


def in_range(
    name: str, value: Any, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number between ``low`` and ``high``.

    The ends belong to the range unless ``open_low`` or ``open_high`` says otherwise. ``low`` and
    ``high`` may be infinite; ``value`` may not.
    """
    inside = _is_finite_number(value) and low <= value <= high
    if not inside or (open_low and value == low) or (open_high and value == high):
        ends = f"{'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
        _refuse(name, value, f"a finite number in {ends}")


def betas(name: str, value: Any, count: int = 2) -> None:
    """Raise ``ValueError`` unless ``value`` is a tuple or list of ``count`` averaging constants in [0, 1)."""
    if not isinstance(value, tuple | list) or len(value) != count:
        _refuse(name, value, f"a tuple of {count} numbers in [0, 1)")
    for i, beta in enumerate(value):
        in_range(f"{name}[{i}]", beta, 0, 1, open_high=True)


def integer_at_least(name: str, value: Any, low: int) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer (not a bool) >= ``low``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        _refuse(name, value, f"an integer >= {low}")


def one_of(name: str, value: Any, allowed: Collection[Any]) -> None:
    """Raise ``ValueError`` unless ``value`` equals one of ``allowed`` and has its type."""
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        _refuse(name, value, f"one of {', '.join(map(repr, allowed))}")


def flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is True or False."""
    one_of(name, value, (True, False))


def optional_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is True, False or None."""
    one_of(name, value, (True, False, None))
