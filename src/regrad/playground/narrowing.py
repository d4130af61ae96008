"""From a study to one of its runs, choice by choice: each choice says which there are of the next."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from regrad.playground.controls import Choice
from regrad.playground.shelf import Shelf
from regrad.report import words
from regrad.report.outcomes import FRESH, TUNE, Outcomes
from regrad.results import Record
from regrad.studies.catalogue import STUDIES

DEFAULT_STUDY = "micro_adam"
LABELS = {study.name: study.label for study in STUDIES}
UNCLIPPED = {"none": "no clipping"}
PHASES = {TUNE: "tuning (chose the rate)", FRESH: "fresh seeds (for the verdicts)"}


def arm_in_words(name: str) -> str:
    return UNCLIPPED.get(name, words.arm(name))


READ: dict[str, Callable[[str], str]] = {  # what readers see of a choice
    "study": lambda name: LABELS.get(name, name),
    "part": lambda name: words.TASKS.get(name, name),
    "arm": arm_in_words,
    "against": arm_in_words,
    "phase": lambda name: PHASES.get(name, name),
    "metric": lambda name: name.replace("_", " "),
    "curve": lambda name: name.replace("_", " "),
}


def choice(name: str, options: Sequence[str], preferred: str = "") -> Choice:
    """Return a choice in words; the keys of those that share their words stand beside them."""
    said = [READ[name](option) for option in options] if name in READ else list(options)
    count = Counter(said)
    pairs = zip(said, options, strict=True)
    return Choice(tuple(options), preferred, tuple(word if count[word] == 1 else f"{word} ({o})" for word, o in pairs))


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
        self.choices[name] = made = choice(name, options, preferred)
        return self.values[name] if self.values.get(name) in options else made.default

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
