"""Run one spec: train a model, take the validation loss along the way, and return the record."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from regrad.problems.batch import Examples, Losses
from regrad.problems.data.splits import Split
from regrad.problems.problem import Problem
from regrad.results import Curve, Fingerprint, Part, Record, Spec, run_id
from regrad.runner.build import (
    build_gradient,
    build_measures,
    build_optimizer,
    build_problem,
    build_scheduler,
    resolve,
)
from regrad.runner.lookup import look_up
from regrad.runner.measures import Checkpoint
from regrad.runner.registry import SCALERS

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Curves:
    """Collects numbers over the run; the first non-finite one ends it."""

    def __init__(self) -> None:
        self.points: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))

    def add(self, step: int, values: dict[str, float]) -> bool:
        """Append ``values`` after ``step`` steps; return False, and append nothing, if one is not finite."""
        # All or none: curves of one evaluation stay of one length, and JSON has no NaN.
        if not all(math.isfinite(value) for value in values.values()):
            return False
        for name, value in values.items():
            self.points[name][0].append(float(step))
            self.points[name][1].append(float(value))
        return True

    def export(self) -> dict[str, Curve]:
        return {name: Curve(x=x, y=y) for name, (x, y) in sorted(self.points.items())}


class Moving(NamedTuple):
    """Everything that changes over a run, beside what follows from the seed and the step alone."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    scaler: Any
    curves: Curves


class Keeps(Protocol):
    """Who keeps a run's checkpoints (`regrad.runner.resume.Keeper`)."""

    def resume(self, moving: Moving) -> int:
        """Put the run where its checkpoint left it; return the steps taken, 0 without one."""

    def after(self, step: int, moving: Moving) -> None:
        """Look, after ``step`` steps, whether to keep a checkpoint."""


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """Return the step counts after which the validation loss is taken: 0, the end, and evenly between."""
    return {0} | {round(steps * k / evaluations) for k in range(1, evaluations + 1)}


def evaluation(problem: Problem, model: nn.Module, split: Split) -> dict[str, float]:
    """Return the problem's numbers on a split, as ``validation_loss`` and so on."""
    return {f"{split}_{name}": value for name, value in problem.evaluate(model, split).items()}


def build_scaler(spec: Spec, problem: Problem) -> Any:
    """Return the loss scaler that a spec names, for the problem's device; None if it names none.

    Raises:
        ValueError: A gradient other than plain backward: its statistics would be scaled and not unscaled.
    """
    gradient = spec.gradient or Part(name="backward")
    if gradient != Part(name="backward") and (spec.scaler or spec.precision != "fp32"):
        given = f"gradient {gradient.name!r} with scaler or precision {spec.precision!r}"
        raise ValueError(f"{given}; allowed: plain 'backward'")
    if spec.scaler is None:
        return None
    return resolve(look_up(SCALERS, spec.scaler, "scaler"))(problem.device, **spec.scaler.options)


def losses_to_differentiate(spec: Spec, problem: Problem, scaler: Any) -> Losses:
    """Return the problem's losses, scaled if there is a scaler, the model under autocast if asked for.

    Only the model runs in low precision: losses are taken from float32 outputs, as is every evaluation.
    """
    if scaler is None and spec.precision == "fp32":
        return problem.losses

    def losses(model: nn.Module, batch: Examples) -> Tensor:
        def cast(*inputs: Any) -> Tensor:
            with torch.autocast(problem.device.type, AUTOCAST[spec.precision]):
                outputs = model(*inputs)
            return outputs.float()

        unscaled = problem.losses(model if spec.precision == "fp32" else cast, batch)
        return unscaled if scaler is None else scaler.scale(unscaled)

    return losses


def step_with(scaler: Any, optimizer: torch.optim.Optimizer, arguments: dict[str, Any]) -> None:
    if scaler is None:
        optimizer.step(**arguments)
        return
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


def train(spec: Spec, problem: Problem, model: nn.Module, keeper: Keeps | None = None) -> tuple[Curves, bool]:
    """Train ``model`` as ``spec`` says; return its curves and whether it stayed finite."""
    optimizer = build_optimizer(spec.optimizer, model)
    scheduler = build_scheduler(optimizer, spec)
    gradient, measures = build_gradient(spec), build_measures(spec)
    scaler = build_scaler(spec, problem)
    losses = losses_to_differentiate(spec, problem, scaler)
    evaluate_after = evaluation_steps(spec.steps, spec.evaluations)
    curves, now = Curves(), Checkpoint(model, problem, spec, optimizer, scaler)
    moving = Moving(model, optimizer, scheduler, scaler, curves)
    for step in range(keeper.resume(moving) if keeper else 0, spec.steps + 1):
        # Before the step: step 0 is the untrained model, and the state after the last step is looked at too.
        if step in evaluate_after and not curves.add(step, evaluation(problem, model, "validation")):
            return curves, False
        for measure in measures:
            if measure.wants(step, spec) and not curves.add(step, measure(now)):
                return curves, False
        # The turn after the last step only looks.
        if step < spec.steps:
            batch = problem.batch(step, spec.batch_size)
            step_with(scaler, optimizer, gradient(model, losses, batch))
            scheduler.step()
            # After the step and not before the next: evaluations need not hold gradients in memory.
            optimizer.zero_grad(set_to_none=True)
            if keeper:
                keeper.after(step + 1, moving)
    return curves, True


def trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def record_of(spec: Spec, fingerprint: Fingerprint, curves: Curves, finite: bool, parameters: int) -> Record:
    """Return what a run that ended leaves behind; a diverged one has no final numbers."""
    exported = curves.export()
    return Record(
        run_id=run_id(spec, fingerprint),
        spec=spec,
        fingerprint=fingerprint,
        status="finished" if finite else "diverged",
        # The last number of a run that stopped early would pass for the end of a whole one.
        metrics={name: curve.y[-1] for name, curve in exported.items()} if finite else {},
        curves=exported,
        parameters=parameters,
    )


def run(spec: Spec, fingerprint: Fingerprint, *, cache: Path, keeper: Keeps | None = None) -> Record:
    """Run ``spec`` on the fingerprint's device and return its record.

    One torch thread: the number of threads changes the last bits of a sum.
    """
    torch.set_num_threads(1)
    problem = build_problem(spec, cache=cache, device=fingerprint.device)
    model = problem.init_model()
    curves, finite = train(spec, problem, model, keeper)
    return record_of(spec, fingerprint, curves, finite, trainable(model))
