"""What a notebook computes with torch besides its runs, as plain JSON: published, so that it can be read without."""

from collections.abc import Mapping
from typing import Any


def encode(value: Any) -> Any:
    """Return a value as JSON knows it; a mapping becomes pairs, which keep their order and may have any key."""
    if isinstance(value, Mapping):
        return {"pairs": [[key, encode(entry)] for key, entry in value.items()]}
    return [encode(entry) for entry in value] if isinstance(value, list | tuple) else value


def decode(value: Any) -> Any:
    """Return what ``encode`` was given, tuples as lists."""
    if isinstance(value, dict):
        return {key: decode(entry) for key, entry in value["pairs"]}
    return [decode(entry) for entry in value] if isinstance(value, list) else value
