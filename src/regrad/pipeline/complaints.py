"""One line about a mistake in what people write, whatever raised it."""

from pydantic import ValidationError


def one_line(error: ValueError) -> str:
    """Return field, value and what is allowed for pydantic's report of many lines, else the message's first line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{error.title}: {where!r} = {first['input']!r}: {first['msg'].lower()}"
    return (str(error).splitlines() or [type(error).__name__])[0]
