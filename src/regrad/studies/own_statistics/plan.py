"""The user's guide: Adam on a statistic of your own instead of the mean gradient, next to Adam on the mean."""

from pydantic import JsonValue

from regrad.results import Part, Record, Spec
from regrad.studies.micro_adam.plan import BETAS, EPS
from regrad.studies.micro_adam.sizes import PRESETS as SIZES

STUDY = "own_statistics"
LR = 4e-3
SEEDS = 2
# The guide is a demonstration: the larger presets show what small shows.
PRESETS = {"smoke": SIZES["smoke"], **dict.fromkeys(("small", "full", "paper"), SIZES["small"])}


def comparison(preset: str, function: str, arguments: dict[str, float]) -> list[Spec]:
    """Return runs on the mean gradient, and on the mean over examples of a function of each gradient.

    Args:
        preset: Name of a preset.
        function: Name of an elementwise function in ``torch``.
        arguments: Its keyword arguments.
    """
    options: dict[str, JsonValue] = {"function": function, "arguments": dict(arguments)}
    gradients = {"mean": None, function: Part(name="elementwise", options=options)}
    return [make(preset, arm, gradient, seed) for arm, gradient in gradients.items() for seed in range(SEEDS)]


def make(preset: str, arm: str, gradient: Part | None, seed: int) -> Spec:
    """Return the spec of one run."""
    task = PRESETS[preset].language
    optimizer: dict[str, JsonValue] = {"lr": LR, "betas": list(BETAS), "eps": EPS, "preconditioner": "adam"}
    return Spec(
        problem=task.problem,
        optimizer=Part(name="micro_adam", options=optimizer),
        gradient=gradient,
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        evaluations=PRESETS[preset].evaluations,
        tags={"study": STUDY, "arm": arm, "phase": "fresh"},
    )


CLAMP = {"min": -3e-3, "max": 3e-3}  # about the typical size of an entry of one example's gradient


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return the runs that the guide shows: every entry of every example's gradient clamped."""
    return comparison(preset, "clamp", CLAMP)
