"""The user's guide: Adam on a statistic of your own instead of the mean gradient, next to Adam on the mean."""

from pydantic import JsonValue

from regrad.results import Part, Record, Spec
from regrad.studies.own_statistics.arms import MEAN
from regrad.studies.own_statistics.sizes import PRESETS
from regrad.studies.own_statistics.study import STUDY
from regrad.studies.study import Plan

LR = 4e-3
SEEDS = 2
CLAMP = {"min": -3e-3, "max": 3e-3}  # about the typical size of an entry of one example's gradient
# eps is small enough not to be a preconditioner itself.
ADAM: dict[str, JsonValue] = {"lr": LR, "betas": [0.9, 0.99], "eps": 1e-12, "preconditioner": "adam"}


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return the runs that the guide shows: every entry of every example's gradient clamped."""
    return comparison(preset, "clamp", CLAMP)


def plan_with(function: str, arguments: dict[str, float]) -> Plan:
    """Return the plan of the mean gradient beside a statistic of one's own."""
    return lambda preset, records: comparison(preset, function, arguments)


def comparison(preset: str, function: str, arguments: dict[str, float]) -> list[Spec]:
    options: dict[str, JsonValue] = {"function": function, "arguments": dict(arguments)}
    gradients = {MEAN.name: None, function: Part(name="elementwise", options=options)}
    return [make(preset, arm, gradient, seed) for arm, gradient in gradients.items() for seed in range(SEEDS)]


def make(preset: str, arm: str, gradient: Part | None, seed: int) -> Spec:
    sizes = PRESETS[preset]
    problem: dict[str, JsonValue] = {
        "corpus": "news",
        "model": "0.1M",
        "sequence_length": sizes.sequence_length,
        "evaluation_sequences": sizes.evaluation_sequences,
    }
    return Spec(
        problem=Part(name="language", options=problem),
        optimizer=Part(name="micro_adam", options=ADAM),
        gradient=gradient,
        steps=sizes.steps,
        batch_size=sizes.batch_size,
        seed=seed,
        evaluations=sizes.evaluations,
        tags={"study": STUDY.name, "arm": arm, "phase": "fresh"},
    )
