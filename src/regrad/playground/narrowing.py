"""From a study to one of its runs, choice by choice: each choice says which there are of the next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from regrad.playground.controls import Choice
from regrad.playground.shelf import Shelf
from regrad.report.outcomes import Outcomes
from regrad.results import Record

DEFAULT_STUDY = "micro_adam"


class Narrowing:
    """Choices so far, and the records that they leave.

    Args:
        records: To choose from.
        values: What was chosen, where it was.
    """

    def __init__(self, records: Iterable[Record], values: Mapping[str, Any]) -> None:
        self.outcomes, self.values = Outcomes(records), values
        self.choices: dict[str, Choice] = {}

    def by(self, name: str, options: Sequence[str], preferred: str = "") -> str:
        """Offer words under a name; return the one that is chosen."""
        self.choices[name] = choice = Choice(tuple(options), preferred)
        return self.values[name] if self.values.get(name) in options else choice.default

    def by_tag(self, tag: str, preferred: str = "") -> None:
        """Offer the values of a tag, and leave the records of the one that is chosen; nothing where no run has it."""
        if options := self.outcomes.values(tag):
            self.outcomes = self.outcomes.where(**{tag: self.by(tag, options, preferred)})


def narrowed(shelf: Shelf, values: Mapping[str, Any], wanted: Iterable[str] = ()) -> Narrowing:
    """Return the narrowing to a study and a part of it, to the phases in ``wanted`` if there are any.

    Raises:
        ValueError: No run of the study is of such a phase.
    """
    names = list(shelf.studies)
    start = Narrowing((), values)
    study = start.by("study", names, DEFAULT_STUDY)
    found = Narrowing(shelf.records(study), values)
    found.choices = start.choices
    if phases := set(wanted):
        found.outcomes = found.outcomes.where(phase=phases)
        if not len(found.outcomes):
            raise ValueError(f"study = {study!r}: none of its published runs is of phase {' or '.join(sorted(phases))}")
    found.by_tag("part")
    return found
