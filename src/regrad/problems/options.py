"""Options of problems: frozen, strictly typed, refusing misspelt keys with a suggestion, in one line."""

import difflib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(strict=True, ge=1)]
Switch = Annotated[bool, Field(strict=True)]


class OptionError(ValueError):
    """An option is unknown or out of range; the message is one line with field, value and what is allowed."""


class Options(BaseModel):
    """Base of all options: plain JSON values, checked at construction, immutable, hashable.

    Raises:
        OptionError: Unknown key (with the nearest known one), wrong type or value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(_one_line(type(self), error)) from None


class ProblemOptions(Options):
    """What all problems can be asked for.

    Attributes:
        evaluation_batch: Examples in a forward pass of `evaluate`; changes memory, and results by rounding.
    """

    evaluation_batch: Count = 250


def _one_line(kind: type[Options], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "options"
    if first["type"] == "extra_forbidden":
        known = sorted(kind.model_fields)
        near = difflib.get_close_matches(field, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{kind.__name__} has no option {field!r}; {hint}"
    if first["type"] == "value_error":
        return f"{kind.__name__}: {first['ctx']['error']}"
    hint = ""
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        allowed = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(first["input"], allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{kind.__name__}: {field}={first['input']!r}: {first['msg']}{hint}"
