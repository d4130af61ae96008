"""Build the objects that a spec names."""

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from regrad.problems.problem import Problem
from regrad.results import Part, Spec, parse
from regrad.runner.lookup import look_up
from regrad.runner.registry import GRADIENTS, MEASURES, OPTIMIZERS, PROBLEMS
from regrad.runner.schedules import learning_rate_factor


def resolve(entry: str) -> Any:
    module, attribute = entry.split(":")
    return getattr(import_module(module), attribute)


def build_problem(spec: Spec, *, cache: Path, device: str) -> Problem:
    kind: type[Problem] = resolve(look_up(PROBLEMS, spec.problem, "problem"))
    return kind.from_options(parse(kind.Options, spec.problem.options), cache=cache, seed=spec.seed, device=device)


def build_optimizer(part: Part, model: nn.Module) -> Optimizer:
    """Return the optimizer that ``part`` names over the trainable parameters of ``model``, by name.

    An option ``base`` names the optimizer that a wrapper is put around.
    """
    factory = resolve(look_up(OPTIMIZERS, part, "optimizer"))
    options: dict[str, Any] = dict(part.options)
    if "base" in options:
        # The base travels as plain JSON in the options, so that a spec's key covers it like any other setting.
        return factory(build_optimizer(Part(**options.pop("base")), model), **options)
    # JSON has no tuples; torch's optimizers want them.
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    # With names: per-example statistics reach an optimizer by parameter name.
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return factory(named, **options)


def build_gradient(spec: Spec) -> Any:
    """Return the object that fills ``.grad`` for a spec's batches."""
    part = spec.gradient or Part(name="backward")
    return resolve(look_up(GRADIENTS, part, "gradient"))(**part.options)


def build_measures(spec: Spec) -> list[Any]:
    return [resolve(look_up(MEASURES, part, "measure"))(**part.options) for part in spec.measures]


def build_scheduler(optimizer: Optimizer, spec: Spec) -> LambdaLR:
    return LambdaLR(optimizer, learning_rate_factor(spec.schedule, spec.steps))
