"""Find what a spec names in the tables of the registry."""

from regrad.results import Part, suggestion


def look_up(table: dict[str, str], part: Part, kind: str) -> str:
    """Return the entry of ``part`` in ``table`` (ValueError: there is none; the message suggests the nearest name)."""
    if part.name not in table:
        raise ValueError(f"unknown {kind} {part.name!r}{suggestion(part.name, list(table))}")
    return table[part.name]
