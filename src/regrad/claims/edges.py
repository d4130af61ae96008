"""No verdict is drawn against an arm whose best learning rate lies on the edge of its grid: a better may lie beyond.

The tuning of a run is that of its arm on its problem at its batch size, in whichever part of the study: a run at other
rates or for fewer steps is judged by the tuning that its rate comes from.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from regrad.claims.kinds.rows import Rows, select
from regrad.claims.schema import AnyTest, Construction, arms_of
from regrad.results import Record, canonical, row
from regrad.statistics.tuning import choose

Tuned = tuple[str, str, int]  # arm, problem, batch size
Run = tuple[str, str]  # part, arm


def tuned_as(record: Record) -> Tuned:
    """What a record's learning rate was tuned on."""
    spec = record.spec
    return spec.tags["arm"], canonical(spec.problem.model_dump()), spec.batch_size


def edges(records: Iterable[Record]) -> dict[Tuned, str]:
    """The end of the grid at which an optimum lies, ``"low"``, ``"high"`` or ``"both"``, of those on an edge."""
    tuning: dict[Tuned, dict[str, Record]] = defaultdict(dict)
    for record in records:
        if record.spec.tags.get("phase") == "tune":
            tuning[tuned_as(record)][record.spec.key()] = record
    found = {}
    for key, runs in tuning.items():
        (choice,) = choose([row(record, "validation_loss") for record in runs.values()]).values()
        if choice.edge is not None:
            found[key] = choice.edge
    return found


def with_edges(rows: Iterable[Mapping[str, Any]], records: Sequence[Record]) -> list[Mapping[str, Any]]:
    """Return claim rows, those computed from a run whose arm was tuned to an edge with that as ``edge``."""
    found = edges(records)
    tuned: dict[Run, set[Tuned]] = defaultdict(set)
    for record in (one for one in records if one.spec.tags.get("phase") != "tune"):
        tuned[record.spec.tags.get("part", ""), record.spec.tags["arm"]].add(tuned_as(record))
    words = {
        run: f"the best learning rate of {run[1]} lies on an edge of its grid ({found[key]})"
        for run, keys in tuned.items()
        for key in sorted(keys & set(found))
    }
    return [{**one, "edge": next((words[run] for run in one.get("runs", ()) if run in words), None)} for one in rows]


def on_edge(test: AnyTest, rows: Rows) -> str | None:
    """Why a test cannot decide against an arm that its rows were computed from; None where it can."""
    if isinstance(test, Construction):
        return None
    return next((row["edge"] for row in select(rows, test.metric, arms_of(test)) if row.get("edge")), None)
