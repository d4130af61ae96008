"""How long a run will take, by what runs of its kind took: all but the seed and the learning rate is equal."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from regrad.archive import Archive
from regrad.results import Part, Spec, canonical
from regrad.store import Store


def kind(spec: Spec) -> str:
    """Return what is equal among runs that take equally long."""
    return canonical(spec.model_dump(mode="json", exclude={"tags", "seed"}) | {"optimizer": parts(spec.optimizer)})


def parts(optimizer: Part) -> list[str]:
    """Return the names of an optimizer and of those that it is put around."""
    return [optimizer.name, *(parts(optimizer.base) if optimizer.base else [])]


class Times:
    """Seconds of runs, by their kind.

    Args:
        stores: Where runs and their times are kept; the times of another machine do for an estimate.
    """

    def __init__(self, stores: Iterable[Store | Archive]) -> None:
        kinds: dict[str, list[float]] = defaultdict(list)
        rates: dict[str, list[float]] = defaultdict(list)
        for store in stores:
            for record in store:
                if (went := store.circumstances(record.run_id)) is not None:
                    kinds[kind(record.spec)].append(went.seconds)
                    for problem in (canonical(record.spec.problem.model_dump()), record.spec.problem.name):
                        rates[problem].append(went.seconds / work(record.spec))
        self.kinds, self.rates = means(kinds), means(rates)

    def expected(self, spec: Spec) -> float:
        """Return the seconds of one process that a run will take; 0 where no run of its problem was ever timed.

        Where none of its kind was, those of equal problems say what an example costs.
        """
        if (known := self.kinds.get(kind(spec))) is not None:
            return known
        names = (canonical(spec.problem.model_dump()), spec.problem.name)
        return next((self.rates[name] * work(spec) for name in names if name in self.rates), 0.0)

    def total(self, specs: Iterable[Spec]) -> float | None:
        """Return the seconds of one process that some runs will take; None where nothing is known of any.

        One of which nothing is known counts as the mean of the others.
        """
        expected = [self.expected(spec) for spec in specs]
        known = [seconds for seconds in expected if seconds]
        return fmean(known) * len(expected) if known else None


def work(spec: Spec) -> int:
    """Return how many examples a run sees."""
    return spec.steps * spec.batch_size


def means(numbers: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the mean of each list."""
    return {name: fmean(values) for name, values in numbers.items()}
