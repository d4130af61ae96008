"""Repeat a published run, whole or up to its second evaluation, and say where it differs from its record."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regrad.results import Record, Spec, run_id

if TYPE_CHECKING:
    from regrad.runner.train import Curves, Moving


class Repeat(NamedTuple):
    """What to repeat, as it travels to a worker."""

    record: Record
    cache: Path
    whole: bool  # whether to run it to its end


class Repeated(NamedTuple):
    """What came of it."""

    run_id: str
    whole: bool
    seconds: float
    difference: str = ""  # the first number that differs, in words; empty if none does


class Beginning(Exception):  # noqa: N818 - it is no error: it ends a run where it need not go on
    """A run has gone as far as was asked."""


class Until:
    """Stops a run at its first step after step ``last``, by the hooks through which checkpoints are kept."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.curves: Curves | None = None

    def resume(self, moving: "Moving") -> int:
        self.curves = moving.curves
        return 0

    def after(self, step: int, moving: "Moving") -> None:
        """Stop once an evaluation at the last step is behind; it comes before the step that follows it."""
        if step > self.last:
            raise Beginning


def repeat(task: Repeat) -> Repeated:
    """Run a published spec again under today's code; an exception of the run is a difference too."""
    start = time.perf_counter()
    try:
        difference = _whole(task) if task.whole else _begun(task)
    except Exception as error:  # noqa: BLE001 - one run that fails must not hide what the others say
        difference = f"it fails: {type(error).__name__}: {error}".splitlines()[0]
    return Repeated(task.record.run_id, task.whole, time.perf_counter() - start, difference)


def _whole(task: Repeat) -> str:
    from regrad.runner.train import run

    old = task.record
    new = run(old.spec, old.fingerprint, cache=task.cache)
    if new.run_id != run_id(old.spec, old.fingerprint):
        return f"its name is {new.run_id[:12]}, published {old.run_id[:12]}"
    points = {name: dict(zip(curve.x, curve.y, strict=True)) for name, curve in new.curves.items()}
    for name in ("status", "parameters", "metrics"):
        if getattr(new, name) != getattr(old, name):
            # A curve says where the runs part; a final number only that they did.
            return first_difference(old, points, old.spec.steps) or f"{name} {getattr(new, name)!r}"
    return first_difference(old, points, old.spec.steps)


def _begun(task: Repeat) -> str:
    return first_difference(task.record, *beginning(task.record, task.cache))


def beginning(record: Record, cache: Path) -> tuple[dict[str, dict[float, float]], int]:
    """Repeat a run up to its second evaluation; return its curves, each step to number, and that evaluation's step."""
    from regrad.runner.train import evaluation_steps

    # The second: the first is the untrained model, in which no optimizer has had a say.
    last = sorted(evaluation_steps(record.spec.steps, record.spec.evaluations))[:2][-1]
    curves, _ = begin(record.spec, last, cache=cache, device=record.fingerprint.device)
    return {name: dict(zip(x, y, strict=True)) for name, (x, y) in curves.points.items()}, last


def begin(spec: Spec, last: int, *, cache: Path, device: str) -> "tuple[Curves, bool]":
    """Run a spec up to what is recorded at step ``last``; return its curves and whether it stayed finite."""
    import torch

    from regrad.runner.build import build_problem
    from regrad.runner.train import train

    torch.set_num_threads(1)
    problem = build_problem(spec, cache=cache, device=device)
    until = Until(last)
    try:
        return train(spec, problem, problem.init_model(), until)
    except Beginning:
        assert until.curves is not None
        return until.curves, True


def first_difference(record: Record, points: dict[str, dict[float, float]], last: int) -> str:
    """Return the first number up to step ``last`` that is not the recorded one to the bit, in words; else nothing."""
    differences = []
    for name in sorted({*record.curves, *points}):
        curve, new = record.curves.get(name), points.get(name, {})
        old = dict(zip(curve.x, curve.y, strict=True)) if curve is not None else {}
        for step in sorted(step for step in {*old, *new} if step <= last):
            if old.get(step) != new.get(step):
                now, then = new.get(step, "not there"), old.get(step, "not there")
                differences.append((step, f"{name} at step {step:g} is {now}, published {then}"))
                break
    return min(differences, default=(0.0, ""))[1]
