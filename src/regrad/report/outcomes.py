"""What the records of a study say, asked for in words: ``outcomes.part("images").arm("S1").ends("test_loss")``.

Every study reads its records through this one class. A record belongs to an arm and a phase by its spec's tags;
a run that two parts or two phases share is counted once in each. What diverged (`Record.diverged`) is in no mean: it is
counted apart.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from regrad.results import Record, rows
from regrad.statistics.tuning import Choice, choose

if TYPE_CHECKING:
    from regrad.statistics.intervals import Interval

TUNE, FRESH = "tune", "fresh"
Number = TypeVar("Number", bound=float)


class Outcomes:
    """Records of one study in the order of its plan; every filter returns a smaller one.

    Args:
        records: With their specs' tags ``arm`` and ``phase``, and whatever else a study tells its runs apart by.
    """

    accuracy_unit: ClassVar[float] = 100.0  # per cent; a study that tells shares has a subclass with 1

    def __init__(self, records: Iterable[Record]) -> None:
        self.records: tuple[Record, ...] = tuple(records)
        self.splits: dict[str, dict[str | None, Self]] = {}  # by tag and value: claims ask for the same arms again
        self.chosen: dict[str, dict[str, Choice]] = {}  # by metric

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def where(self, **tags: str | Iterable[str]) -> Self:
        """Return the runs whose spec has these tags; several values of one tag are alternatives."""
        found = self
        for name, value in tags.items():
            if isinstance(value, str):
                found = found.split(name).get(value) or type(self)(())
            elif len(values := set(value)) == 1:
                found = found.where(**{name: values.pop()})
            else:
                found = type(self)(r for r in found.records if r.spec.tags.get(name) in values)
        return found

    def split(self, tag: str) -> dict[str | None, Self]:
        """Return the runs by the value of a tag, None where a spec has no such tag."""
        if tag not in self.splits:
            found: dict[str | None, list[Record]] = {}
            for record in self.records:
                found.setdefault(record.spec.tags.get(tag), []).append(record)
            self.splits[tag] = {value: type(self)(records) for value, records in found.items()}
        return self.splits[tag]

    def part(self, *names: str) -> Self:
        return self.where(part=names)

    def arm(self, *names: str) -> Self:
        return self.where(arm=names)

    @property
    def tuning(self) -> Self:
        return self.where(phase=TUNE)

    @property
    def results(self) -> Self:
        """The runs that results are taken from: all that did not choose a learning rate."""
        return type(self)(r for r in self.records if r.spec.tags["phase"] != TUNE)

    @property
    def fresh(self) -> Self:
        """The runs of the chosen learning rates on fresh seeds."""
        return self.where(phase=FRESH)

    def values(self, tag: str) -> list[str]:
        """Return the different values of a tag, in the order of the plan."""
        return list(dict.fromkeys(r.spec.tags[tag] for r in self.records if tag in r.spec.tags))

    @property
    def runs(self) -> tuple[tuple[str, str], ...]:
        """The different (part, arm) of the runs: what a claim's row says it was computed from."""
        return tuple(dict.fromkeys((r.spec.tags.get("part", ""), r.spec.tags["arm"]) for r in self.records))

    @property
    def arms(self) -> list[str]:
        return self.values("arm")

    @cached_property
    def by_seed(self) -> dict[int, Record]:
        """The runs of one arm by seed, rising; of a seed with several runs the first."""
        found: dict[int, Record] = {}
        for record in self.records:
            found.setdefault(record.spec.seed, record)
        return dict(sorted(found.items()))

    def grouped(self, key: Callable[[Record], Number]) -> dict[Number, Self]:
        """Return the runs by a number, rising: a seed, a batch size, a learning rate."""
        found: dict[Number, list[Record]] = {}
        for record in self.records:
            found.setdefault(key(record), []).append(record)
        return {value: type(self)(found[value]) for value in sorted(found)}

    def choices(self, metric: str = "validation_loss") -> dict[str, Choice]:
        if metric not in self.chosen:
            self.chosen[metric] = choose(rows(list(self.records), metric, TUNE))
        return self.chosen[metric]

    @property
    def untrainable(self) -> list[str]:
        """The arms that diverged at every learning rate of their tuning, and so have no run on fresh seeds."""
        return [arm for arm, choice in self.choices().items() if choice.best is None]

    def target(self, arms: Sequence[str], slack: float) -> float:
        """Return the loss to reach: what the slowest of ``arms`` ends at in tuning, plus ``slack``.

        Tuning runs alone fix it; inf where none of the arms ended in a number.
        """
        found = self.choices()
        best = [found[arm].means[lr] for arm in arms if arm in found and (lr := found[arm].best) is not None]
        # The slowest's end, so that every one of them can get there: else speed would be compared on those that can.
        return max(best, default=math.inf) + slack

    def ends(self, metric: str = "test_loss") -> dict[int, float]:
        """Return a final number of the runs of one arm by seed, accuracies in the study's unit (per cent)."""
        factor = self.accuracy_unit if metric.endswith("accuracy") else 1.0
        finished = ((seed, r) for seed, r in self.by_seed.items() if not r.diverged and metric in r.metrics)
        return {seed: factor * record.metrics[metric] for seed, record in finished}

    def mean(self, metric: str = "test_loss") -> "Interval | None":
        """Return the interval of one arm's final number; None if all its runs diverged."""
        return interval(self.ends(metric).values())

    def leads(self, other: "Outcomes", metric: str = "test_loss") -> dict[int, float]:
        """Return one arm's final number less another's, by the seeds that they share."""
        mine, theirs = self.ends(metric), other.ends(metric)
        return {seed: mine[seed] - theirs[seed] for seed in mine if seed in theirs}

    def differences(self, other: "Outcomes", metric: str = "test_loss") -> list[float]:
        return [*self.leads(other, metric).values()]

    def gap(self, other: "Outcomes", metric: str = "test_loss") -> "Interval | None":
        """Return the paired interval of one arm's final number less another's; None without a shared seed."""
        return interval(self.differences(other, metric))

    @property
    def ran(self) -> bool:
        """Whether one arm has results, or lost them all in its tuning; what did not run has not diverged."""
        return len(self.results) > 0 or bool(self.untrainable)

    def steps_to(self, loss: float) -> dict[int, float]:
        """Return after how many steps one arm's validation loss reaches ``loss``, by seed; inf for a miss."""
        return {seed: steps_to(record, loss) for seed, record in self.by_seed.items()}

    def curve(self, name: str = "validation_loss") -> tuple[list[float], list[list[float]]]:
        """Return the steps and, at each, the values of one arm's runs that did not diverge; empty without any."""
        curves = [r.curves[name] for r in self.by_seed.values() if not r.diverged and name in r.curves]
        # Strict: runs of one arm are evaluated at the same steps, or they are not runs of one arm.
        return (curves[0].x, [list(ys) for ys in zip(*(c.y for c in curves), strict=True)]) if curves else ([], [])

    def mean_curve(self, name: str = "validation_loss") -> tuple[list[float], list[float]]:
        """Return the steps and the mean over one arm's runs that did not diverge."""
        steps, values = self.curve(name)
        return steps, [fmean(ys) for ys in values]

    @property
    def once(self) -> Self:
        """Each run once, also one that two parts or two phases share."""
        return type(self)({record.run_id: record for record in self.records}.values())

    @property
    def diverged(self) -> int:
        return sum(record.diverged for record in self.records)

    @property
    def parameters(self) -> int:
        """Trainable entries of the model, of the first run."""
        return self.records[0].parameters if self.records else 0


def interval(values: Iterable[float]) -> "Interval | None":
    """Return the interval of the mean of numbers, None without any."""
    from regrad.statistics.intervals import paired_interval  # here, since plans read records too and need no scipy

    numbers = list(values)
    return paired_interval(numbers) if numbers else None


def change(before: dict[int, float], after: dict[int, float]) -> "Interval | None":
    """Return the interval of how far leads moved, seed by seed; None without a shared seed."""
    return interval(after[seed] - before[seed] for seed in after if seed in before)


def steps_to(record: Record, loss: float) -> float:
    """Return after how many steps a run's validation loss reaches ``loss``, linear between evaluations; else inf."""
    from regrad.statistics.curves import steps_to_target

    curve = record.curves.get("validation_loss")
    return steps_to_target(curve.x, curve.y, loss) if curve is not None else math.inf
