"""Reads ``paper/claims.toml``; what is wrong with it is said in one line, before anything runs."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from regrad.claims.audit import Audit
from regrad.claims.schema import KINDS, Claim
from regrad.claims.tasks import Task
from regrad.results import Frozen, suggestion

Entry = TypeVar("Entry", Task, Claim, Audit)
TABLES: dict[str, type[Frozen]] = {"task": Task, "claim": Claim, "audit": Audit}


class Ledger(NamedTuple):
    """All of the file: what bases are trained on, the claims, and what is proved beside them, each in its order."""

    tasks: tuple[Task, ...]
    claims: tuple[Claim, ...]
    audits: tuple[Audit, ...]


def load(path: str | Path) -> tuple[Claim, ...]:
    """Read and check the ledger, and return its claims.

    Raises:
        ValueError: One line with file, entry, field, and what is allowed.
    """
    return load_ledger(path).claims


def load_ledger(path: str | Path) -> Ledger:
    """Read and check the ledger.

    Raises:
        ValueError: One line with file, entry, field, and what is allowed.
    """
    try:
        return _parsed(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@lru_cache(maxsize=4)  # a plan asks at every step that it is carried
def _parsed(text: str) -> Ledger:
    return parse_ledger(tomllib.loads(text))


def parse_ledger(values: dict[str, Any]) -> Ledger:
    """Return a parsed ledger; a claim's requirements hold their tasks.

    Raises:
        ValueError: One line: an unknown key, an invalid entry, or a name used twice.
    """
    for key in set(values) - set(TABLES):
        raise ValueError(f"unknown key {key!r}{suggestion(key, list(TABLES))}")
    tasks = tuple(_parse(Task, entry, position) for entry, position in _entries(values, "task"))
    _once("task", [task.name for task in tasks])
    by_name = {task.name: task for task in tasks}
    given = [(_with_tasks(entry, position, by_name), position) for entry, position in _entries(values, "claim")]
    claims = tuple(_parse(Claim, entry, position) for entry, position in given)
    audits = tuple(_parse(Audit, entry, position) for entry, position in _entries(values, "audit"))
    _once("claim", [*(claim.id for claim in claims), *(audit.id for audit in audits)])
    return Ledger(tasks, claims, audits)


def _entries(values: Mapping[str, Any], table: str) -> list[tuple[dict[str, Any], int]]:
    entries = values.get(table, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{table!r} is not a list of tables; allowed: [[{table}]]")
    return [(entry, position) for position, entry in enumerate(entries, start=1)]


def _once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name}: {names.count(name)} entries; allowed: one")


def _with_tasks(entry: dict[str, Any], position: int, tasks: Mapping[str, Task]) -> dict[str, Any]:
    gates = entry.get("requires", [])
    if not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        return entry  # which the schema refuses
    for name in (str(gate.get("task")) for gate in gates):
        if name not in tasks:
            words = suggestion(name, list(tasks))
            raise ValueError(f"{_named(Claim, entry, position)}: requires: unknown task {name!r}{words}")
    return entry | {"requires": [gate | {"task": tasks[gate["task"]]} for gate in gates]} if gates else entry


def _parse(model: type[Entry], values: dict[str, Any], position: int) -> Entry:
    try:
        return model(**values)
    except ValidationError as error:
        raise ValueError(f"{_named(model, values, position)}: {_one_line(model, error)}") from None


def _named(model: type[Frozen], values: Mapping[str, Any], position: int) -> str:
    return f"{model.__name__.lower()} {values.get('id', values.get('name', f'number {position}'))}"


def _one_line(model: type[Frozen], error: ValidationError) -> str:
    first = error.errors()[0]
    # The place of a test's field is ("test", position, kind, field); people count from 1 and know the kind.
    kind = next((part for part in first["loc"] if part in KINDS), None)
    place = [str(part + 1) if isinstance(part, int) else part for part in first["loc"] if part != kind]
    where, tag = " ".join(place), str(first.get("ctx", {}).get("tag"))
    value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    reason = f"{where}{value}: " if where else ""
    unknown = suggestion(place[-1], _fields(KINDS[str(kind)] if kind else model)) if place else ""
    return {
        "extra_forbidden": f"unknown key {where!r}{unknown}",
        "union_tag_invalid": f"{where}: unknown kind {tag!r}{suggestion(tag, list(KINDS))}",
        "union_tag_not_found": f"'{where} kind' is missing",
        "missing": f"{where!r} is missing",
    }.get(first["type"], reason + first["msg"].removeprefix("Value error, ").lower())


def _fields(model: type[Frozen]) -> list[str]:
    return list(model.model_fields)
