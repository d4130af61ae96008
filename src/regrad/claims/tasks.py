"""What bases are trained on: a task with its floor, and the gate that a claim puts before its tests."""

from typing import Annotated

from pydantic import Field, model_validator

from regrad.claims.fields import Number, Preset, Side
from regrad.results import Frozen

# A base must have gone this share of the way from the floor to what is competent.
SHARE = 0.25


class Task(Frozen):
    """What a base is trained on, and from which value on it counts as a trained network."""

    name: str
    metric: str  # of the rows that are held against the bar
    better: Side = "lower"
    unit: str  # of all values
    presets: Annotated[tuple[Preset, ...], Field(min_length=1)]  # with the data that the values are of
    floor: Number  # what the best trivial predictor reaches on the same data
    floor_by: str  # which predictor: "data, predictor" of the record of ``benchmarks/floors.py``
    untrained: Number  # value of the network before its first step
    competent: Number  # what this class of model reaches
    competent_by: str  # its source, or the long run of ours that says so
    bar: Number  # what the mean of a base must be better than

    @model_validator(mode="after")
    def _ordered(self) -> "Task":
        sign = 1 if self.better == "higher" else -1
        least = self.floor + SHARE * (self.competent - self.floor)
        if sign * self.competent <= sign * self.floor:
            raise ValueError(f"competent = {self.competent}; allowed: better than the floor, {self.floor}")
        if sign * (self.bar - least) < -1e-9:
            words = "at least" if self.better == "higher" else "at most"
            raise ValueError(f"bar = {self.bar}; allowed: {words} {least:.6g}, {SHARE:.0%} of the way to competent")
        return self

    def beaten_by(self, value: float) -> bool:
        """Whether a value is better than the bar."""
        return value > self.bar if self.better == "higher" else value < self.bar


class Requirement(Frozen):
    """A gate of a claim: the arm that must be a trained network, and the task that says what that is."""

    task: Task
    arm: str
