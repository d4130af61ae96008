"""What a study is called and where its parts lie: each room has one such record, and nothing else spells its names."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from regrad.results import Record, Spec
from regrad.studies.papers import Paper

Plan = Callable[[str, list[Record]], list[Spec]]


@dataclass(frozen=True)
class Study:
    """One study: a question, its runs, and its place in the report."""

    name: str  # of its room under `regrad.studies`, of its target, its key in the ledger and in its specs' tags
    title: str  # as the report and its site head it
    notebook: str  # file under ``notebooks/``, without suffix
    paper: Paper | None = None  # the paper whose claims it tests; None for one that serves all papers
    trains: bool = True  # whether it has runs, planned by ``specs(preset, records)`` in its room's ``plan``
    section: str = ""  # file under ``paper/sections/`` that tells of it, without suffix; empty if none does
    # other names under which the ledger keeps claims on it, each corrected for multiple tests by itself
    families: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What narrow tables call it: its paper's method if it bears the paper's name, else its title."""
        return self.paper.name if self.paper and self.name == self.paper.key else self.title

    @property
    def plan(self) -> Plan | None:
        """The function that names all of its runs that can be named given the records so far."""
        return import_module(f"regrad.studies.{self.name}.plan").specs if self.trains else None


@dataclass(frozen=True)
class Arm:
    """One line of a study's table of arms; rooms add what their plan needs, so that no name is ever parsed."""

    name: str  # key of the table, tag ``arm`` of its specs, and what the ledger calls it
    label: str  # what figures and tables call it
    color: str  # its colour, the same in every figure
    marker: str = "o"  # its marker, which repeats the distinction for those who see colours otherwise

    @property
    def style(self) -> dict[str, Any]:
        return {"label": self.label, "color": self.color, "marker": self.marker}
