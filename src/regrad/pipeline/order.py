"""What is asked for by one call."""

from typing import NamedTuple

from regrad.studies.study import Study


class Order(NamedTuple):
    """What was asked for.

    Attributes:
        targets: Notebooks, in the order of the report.
        documents: ``paper`` and ``site``, as wanted.
        offline: Use no network.
        minutes: Time for runs; None for all that they take.
    """

    targets: list[Study]
    documents: list[str]
    preset: str
    device: str
    jobs: int = 0
    offline: bool = False
    minutes: float | None = None
