"""What a claim of the ledger consists of: a sentence of a paper and the tests that decide it.

Each kind of test names its own fields, so that a forgotten margin is refused before anything runs.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from regrad.claims.fields import IDENTIFIER, PROOF, Arms, Count, Ladder, Margin, Number, Preset, Share, Side
from regrad.claims.tasks import Requirement
from regrad.results import Frozen


class Measured(Frozen):
    """A test on runs.

    Attributes:
        metric: Name of the value read; rows of another ``metric`` are passed over.
        better: Which way is good; a diverged run is the worst there is.
        unit: Unit of the estimate, as printed.
        published: The paper's own figure for the estimate, if it gives one.
    """

    metric: str
    better: Side = "lower"
    unit: str
    published: Number | None = None


class Versus(Measured):
    """Every treatment arm against every control arm; all must hold, the weakest comparison decides."""

    treatment: Arms
    control: Arms


class Paired(Versus):
    """Paired differences of one value a run; below the margin they refute a claim.

    Attributes:
        direction: Where the claim says the treatment moves the metric.
        scale: ``"log10"`` compares logarithms, so that differences are decades.
    """

    kind: Literal["paired"]
    direction: Side
    margin: Margin
    scale: Literal["linear", "log10"] = "linear"


class Rate(Versus):
    """Difference of divergence rates, seed by seed; the margin is a share of a seed's runs."""

    kind: Literal["rate"]
    direction: Side
    margin: Share


class Ratio(Versus):
    """Treatment over control, repetition by repetition, in a range fixed beforehand.

    Attributes:
        range: Lowest and highest ratio that the claim allows.
        every: Whether each single ratio must lie in it (configurations), not their mean (repetitions).
    """

    kind: Literal["ratio"]
    range: tuple[Number, Number]
    every: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Ratio":
        if not 0 <= self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}; allowed: 0 <= low < high")
        return self


class Trend(Measured):
    """The metric moves in ``direction`` rung by rung along ``ladder``; margin as for ``Paired``.

    Both ends of the ladder must have run; a study may leave out rungs between them.
    """

    kind: Literal["trend"]
    direction: Side
    margin: Margin
    ladder: Ladder
    monotone: bool = False  # whether "reproduced" needs every step shown not to reverse it by more than the margin


class Prediction(Measured):
    """A predicted order of arms against the observed one.

    Attributes:
        prediction: Metric whose higher value predicts the better arm.
        margin: Kendall's τ within ±margin is no better than chance.
        top_margin: By how much the arm predicted best may end worse than another, in the metric's unit.
    """

    kind: Literal["prediction"]
    prediction: str
    margin: Share
    top_margin: Margin
    ladder: Ladder


class Construction(Frozen):
    """An executable proof that the sentence is false for the printed algorithm.

    Attributes:
        proof: Node of the test that proves it, ``tests/….py::test_…``.
    """

    kind: Literal["construction"]
    proof: str = Field(pattern=PROOF)


AnyTest = Paired | Rate | Ratio | Trend | Prediction | Construction
KINDS: dict[str, type[Frozen]] = {get_args(test.model_fields["kind"].annotation)[0]: test for test in get_args(AnyTest)}


class Workload(Frozen):
    """What a ratio of costs is measured on."""

    name: str  # as the benchmark's record names it
    ordinary: str  # what the treatment is compared with, in words


class Claim(Frozen):
    """One sentence of a paper; ``paper/claims.toml`` explains the attributes in its first lines."""

    id: str = Field(pattern=IDENTIFIER)
    paper: str
    short: str = ""
    proved: str = ""  # of a construction: what its proof shows
    sentence: str
    quotation: str
    place: str
    source: Literal["primary", "abstract", "secondary"]
    original: str = ""
    study: str
    presets: dict[Preset, Count] = Field(min_length=1)
    devices: tuple[Literal["cpu", "cuda"], ...] = ()
    requires: tuple[Requirement, ...] = ()
    workloads: tuple[Workload, ...] = ()
    falsified: str
    note: str = ""
    test: tuple[Annotated[AnyTest, Field(discriminator="kind")], ...] = Field(min_length=1)

    @field_validator("short")
    @classmethod
    def _brief(cls, short: str) -> str:
        if len(short.split()) > 12:
            raise ValueError(f"{len(short.split())} words; allowed: at most 12")
        return short

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm that a test of this claim reads, each once."""
        return tuple(dict.fromkeys(arm for test in self.test for arm in arms_of(test)))


def arms_of(test: AnyTest) -> tuple[str, ...]:
    """Return the arms of one test: its ladder, or treatment and control; none for a construction."""
    if isinstance(test, Construction):
        return ()
    return test.ladder if isinstance(test, Trend | Prediction) else test.treatment + test.control
