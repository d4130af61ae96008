"""Which runs of a plan decide together, by their specs' tags."""

from collections.abc import Iterable, Sequence

from regrad.results import Record, Spec


def arm_of(spec: Spec) -> tuple[str, str]:
    return spec.tags.get("part", ""), spec.tags.get("arm", "")


def group_of(spec: Spec) -> tuple[str, str, str]:
    """Return part, rank and look.

    Not the arm: the best of several norms is another while one of them is still being tuned.
    """
    return spec.tags.get("part", ""), spec.tags.get("rank", ""), spec.tags.get("look", "")


def whole(records: Sequence[Record], missing: Iterable[Spec]) -> list[Record]:
    """Return the records of those groups of which no run is missing: half a grid or half the seeds decide nothing."""
    begun = {group_of(spec) for spec in missing}
    return [record for record in records if group_of(record.spec) not in begun]
