"""Reads ``paper/claims.toml``; what is wrong with it is said in one line, before anything runs."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from regrad.report.ledger.schema import KINDS, Claim
from regrad.results import suggestion


def load(path: str | Path) -> tuple[Claim, ...]:
    """Read and check the ledger.

    Raises:
        ValueError: One line with file, claim, field, and what is allowed.
    """
    try:
        return parse_claims(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_claims(values: dict[str, Any]) -> tuple[Claim, ...]:
    """Return the claims of a parsed ledger, in its order.

    Raises:
        ValueError: One line: another key than ``claim``, an invalid claim, or an identifier used twice.
    """
    for key in set(values) - {"claim"}:
        raise ValueError(f"unknown key {key!r}{suggestion(key, ['claim'])}")
    entries = values.get("claim", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("'claim' is not a list of tables; allowed: [[claim]]")
    claims = tuple(_parse(entry, position) for position, entry in enumerate(entries, start=1))
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"claim {name}: {ids.count(name)} entries; allowed: one")
    return claims


def _parse(values: dict[str, Any], position: int) -> Claim:
    try:
        return Claim(**values)
    except ValidationError as error:
        raise ValueError(f"claim {values.get('id', f'number {position}')}: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    # The place of a test's field is ("test", position, kind, field); people count from 1 and know the kind.
    kind = next((part for part in first["loc"] if part in KINDS), None)
    place = [str(part + 1) if isinstance(part, int) else part for part in first["loc"] if part != kind]
    where, tag = " ".join(place), str(first.get("ctx", {}).get("tag"))
    unknown = suggestion(place[-1], list((KINDS[str(kind)] if kind else Claim).model_fields))
    value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    return {
        "extra_forbidden": f"unknown key {where!r}{unknown}",
        "union_tag_invalid": f"{where}: unknown kind {tag!r}{suggestion(tag, list(KINDS))}",
        "union_tag_not_found": f"'{where} kind' is missing",
        "missing": f"{where!r} is missing",
    }.get(first["type"], f"{where}{value}: {first['msg'].removeprefix('Value error, ').lower()}")
