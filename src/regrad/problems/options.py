"""Options of problems: frozen, strictly typed, refusing misspelt keys with a suggestion, in one line."""

from typing import Annotated, Any

from pydantic import Field, ValidationError

from regrad.results import Frozen, one_line

Count = Annotated[int, Field(strict=True, ge=1)]
Switch = Annotated[bool, Field(strict=True)]


class OptionError(ValueError):
    """An option is unknown or out of range; the message is one line with field, value and what is allowed."""


class Options(Frozen):
    """Base of all options: plain JSON values, checked at construction, immutable, hashable.

    Raises:
        OptionError: Unknown key (with the nearest known one), wrong type or value out of range.
    """

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(one_line(error, type(self).model_fields)) from None


class ProblemOptions(Options):
    """What all problems can be asked for."""

    evaluation_batch: Count = 250  # examples in a forward pass of `evaluate`; changes memory, and results by rounding
