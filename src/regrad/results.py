"""What a run is asked for (Spec) and what it leaves behind (Record): plain, frozen, checked values."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

SCHEMA_VERSION = 1


class Frozen(BaseModel):
    """Immutable value; unknown keys and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(Frozen):
    """A building block by name, with its options."""

    name: str  # key of a table in ``runner/registry.py``
    options: dict[str, JsonValue] = Field(default_factory=dict)  # keyword arguments of the block, as plain JSON values

    @property
    def base(self) -> "Part | None":
        """The part that this one is put around, its option ``base``; None for one that wraps nothing."""
        inner = self.options.get("base")
        return Part.model_validate(inner) if isinstance(inner, dict) else None

    @property
    def lr(self) -> float:
        """An optimizer's learning rate; a wrapper's is that of its base (ValueError: the part has none)."""
        if (base := self.base) is not None:
            return base.lr
        rate = self.options.get("lr")
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            raise ValueError(f"{self.name}: lr = {rate!r}; allowed: a number")
        return float(rate)

    def with_lr(self, lr: float) -> "Part":
        """Return the optimizer at another learning rate, six digits, which a wrapper passes on to its base."""
        changed: dict[str, JsonValue] = {"lr": float(f"{lr:.6g}")}
        if (base := self.base) is not None:
            changed = {"base": base.with_lr(lr).model_dump()}
        return self.model_copy(update={"options": self.options | changed})


class Schedule(Frozen):
    """Learning-rate factor over the run."""

    # ``"cosine"`` decays from 1 to ``final`` after the warm-up; ``"constant"`` stays at 1
    shape: Literal["constant", "cosine"] = "cosine"
    # share of the steps, in [0, 1), over which the factor rises linearly to 1
    warmup: float = Field(default=0.05, ge=0, lt=1)
    final: float = Field(default=0.1, ge=0, le=1)  # last factor of the cosine, in [0, 1]


class Spec(Frozen):
    """One run. Two equal specs are one run, whichever study or preset asks for it."""

    problem: Part
    optimizer: Part  # the optimizer and its hyperparameters, ``lr`` included
    gradient: Part | None = None  # how the gradient reaches the optimizer; None is plain backward
    scaler: Part | None = None  # loss scaling or clipping object; None for none
    steps: int = Field(ge=1, strict=True)  # optimizer steps, at least 1
    batch_size: int = Field(ge=1, strict=True)  # examples in a batch, at least 1
    seed: int = Field(ge=0, strict=True)  # names the streams of initial weights, data order and noise
    schedule: Schedule = Schedule()
    measures: tuple[Part, ...] = ()  # what else is recorded along the way
    # how many times the validation loss is taken, the end included
    evaluations: int = Field(default=10, ge=1, strict=True)
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"  # the last two by autocast
    # labels for figures and tables (``study``, ``arm``, ``phase``). Not part of the run's name.
    tags: dict[str, str] = Field(default_factory=dict)

    def key(self) -> str:
        """Return the canonical JSON that names the run: everything but the tags."""
        return canonical(self.model_dump(mode="json", exclude={"tags"}))


class Fingerprint(Frozen):
    """What else decides a run's numbers: a change of any of these makes another run."""

    code: str  # hash of the modules that the run executes, comments and docstrings left out
    data: str  # hash of the checksums of its data sets
    torch: str
    device: str  # ``"cpu"`` or ``"cuda"``


class Curve(Frozen):
    """Values ``y`` recorded after ``x`` optimizer steps."""

    x: list[float]
    y: list[float]


class Record(Frozen):
    """What a run leaves behind; equal spec and fingerprint give equal bytes.

    Times live beside it (``Circumstances``).
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str  # hash of spec and fingerprint
    spec: Spec
    fingerprint: Fingerprint
    # ``"diverged"`` says that a loss or parameter became non-finite; its curves stop before that
    status: Literal["finished", "diverged"]
    metrics: dict[str, float] = Field(default_factory=dict)  # final numbers by name; empty for a diverged run
    curves: dict[str, Curve] = Field(default_factory=dict)  # numbers over the run by name
    parameters: int = 0  # trainable entries of the model
    # how the run was repeated under later code and when, such as ``"whole 2026-11-28"`` or ``"begun …"``; empty if it
    # was not. It comes from the set's blessings (`regrad.blessing`) and is not stored.
    repeated: str = Field(default="", exclude=True)

    @property
    def diverged(self) -> bool:
        """Whether the run became non-finite, or ended above the validation loss of its untrained model.

        The one meaning of the word in every study, figure and verdict.
        """
        losses = self.curves["validation_loss"].y if "validation_loss" in self.curves else []
        return not self.finite or (len(losses) > 1 and losses[-1] > losses[0])

    @property
    def finite(self) -> bool:
        """Whether every loss and parameter stayed finite to the end."""
        return self.status == "finished"


class Circumstances(Frozen):
    """How a run went, apart from its numbers: never equal twice, so kept beside the record."""

    seconds: float
    peak_bytes: int  # peak resident memory of the process, or of the device where there is one
    threads: int
    commit: str  # commit of the code, ``+`` for uncommitted changes, ``unknown`` outside git
    machine: str  # processor or device, in words


def row(record: Record, metric: str) -> dict[str, Any]:
    """Return what statistics need of a record: arm, learning rate, seed, value, whether it diverged."""
    spec = record.spec
    return {
        "arm": spec.tags["arm"],
        "phase": spec.tags["phase"],
        "lr": spec.optimizer.lr,
        "seed": spec.seed,
        "value": record.metrics.get(metric),
        "diverged": record.diverged,
    }


def rows(records: list[Record], metric: str, phase: str) -> list[dict[str, Any]]:
    return [row(r, metric) for r in records if r.spec.tags.get("phase") == phase]


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no white space; NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(spec: Spec, fingerprint: Fingerprint) -> str:
    """Return the name of a run: 64 hexadecimal digits."""
    return sha256(spec.key() + canonical(fingerprint.model_dump()))


def run_set(ids: list[str]) -> str:
    """Return eight digits that name a set of runs, whatever their order."""
    return sha256(canonical(sorted(set(ids))))[:8]


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` with the nearest allowed word, nothing where none is near."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def suggestion(word: str, allowed: list[str]) -> str:
    """Return ``"; did you mean X?"`` with the nearest allowed word, or the list of all."""
    return nearest(word, allowed) or f"; allowed: {', '.join(sorted(allowed))}"


def one_line(error: ValueError, fields: Iterable[str] = ()) -> str:
    """Return what is wrong in one line: of pydantic's report the first mistake, with the nearest of ``fields``."""
    if not isinstance(error, ValidationError):
        return (str(error).splitlines() or [type(error).__name__])[0]
    first = error.errors(include_url=False)[0]
    field, reason = ".".join(map(str, first["loc"])), first["msg"].lower()
    if first["type"] == "extra_forbidden":
        known = list(fields) if len(first["loc"]) == 1 else []  # of a key inside another, the fields are not at hand
        reason = f"unknown key {field!r}{suggestion(field, known) if known else ''}"
    elif first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
    elif first["type"] == "literal_error":
        reason += nearest(str(first["input"]), first["ctx"]["expected"].split("'")[1::2])
    return f"{error.title}: {field} = {first['input']!r}: {reason}" if field else f"{error.title}: {reason}"


FrozenModel = TypeVar("FrozenModel", bound=BaseModel)


def parse(model: type[FrozenModel], values: Mapping[str, Any]) -> FrozenModel:
    """Build ``model`` from ``values``, or raise ValueError: field, value and what is allowed, in one line."""
    try:
        return model(**values)
    except ValidationError as error:
        raise ValueError(one_line(error, model.model_fields)) from None
