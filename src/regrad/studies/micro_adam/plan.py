"""Which part of the second moment preconditions Adam: μ², σ² or a mixture (per-example paper, C4 to C8).

All arms are Adam with ν_c = μ² + c σ²: ``adam`` has c = 1/B, ``micro_adam`` c = 1, ``micro_adam_var`` no μ²
at all, ``micro_adam_msq`` c = 0, ``c=0.25`` and ``c=4`` what they say. ``+clip`` clips the batch's gradient
to global norm 1, ``+decay`` has decoupled weight decay 0.1.

Four parts, told apart by the tag ``part``: ``language`` and ``images`` tune every arm's learning rate and run
it on fresh seeds; ``stability`` raises it over the optimum found, in short runs; ``scaling`` runs Adam at
several batch sizes, equal tokens and learning rates proportional to B^0, B^½ and B.
"""

import math

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh
from regrad.studies.micro_adam.sizes import PRESETS, Scale, Task

STUDY = "micro_adam"
BETAS = (0.9, 0.99)
EPS = 1e-12  # small enough not to be a preconditioner itself
MAX_NORM = 1.0
DECAY = 0.1
PRECONDITIONERS: dict[str, JsonValue] = {
    "adam": "adam",
    "micro_adam": "micro",
    "micro_adam_var": "variance",
    "micro_adam_msq": "mean_square",
    "c=0.25": 0.25,
    "c=4": 4.0,
}
NAMED = ("adam", "micro_adam", "micro_adam_var", "micro_adam_msq")
LANGUAGE_ARMS = (
    *NAMED,
    *(f"{arm}+clip" for arm in NAMED),
    "c=0.25",
    "c=4",
    "adam+decay",
    "micro_adam+decay",
)
IMAGE_ARMS = (*NAMED, *(f"{arm}+clip" for arm in NAMED))
STABILITY_ARMS = ("adam", "micro_adam", "micro_adam_var", "micro_adam+clip", "micro_adam_var+clip")
EXPONENTS = (0.0, 0.5, 1.0)


def base(arm: str) -> str:
    """Return an arm's name without its suffixes."""
    return arm.split("+")[0]


def coefficient(arm: str, batch_size: int) -> float:
    """Return by how much ν of an arm exceeds Adam's, σ²/B, where noise dominates.

    That is c B; for c = 0 it is what bounds ν from below, the least share of σ²/B that a moving average
    of gbar² - v/B resolves.
    """
    beta = BETAS[1]
    least = math.sqrt(2 * (1 - beta) / (1 + beta))
    of_named = {"adam": 1 / batch_size, "micro_adam": 1.0, "micro_adam_var": 1.0, "micro_adam_msq": 0.0}
    c = of_named[base(arm)] if base(arm) in of_named else float(base(arm).removeprefix("c="))
    return max(c * batch_size, least)


def center(arm: str, task: Task) -> float:
    """Return the middle of an arm's grid, halfway between its two predicted optima.

    Where μ² dominates, an arm's best learning rate is Adam's; where noise dominates, it is Adam's times the
    root of the ratio of their ν. For MicroAdam and MicroAdamVar a grid of width 4 √B then reaches from half
    of Adam's to 2 √B times Adam's.
    """
    return task.center * coefficient(arm, task.batch_size) ** 0.25


def gradient(arm: str, method: str) -> Part | None:
    """Return how the gradient reaches an arm's optimizer."""
    clip: dict[str, JsonValue] = {"max_norm": MAX_NORM} if "+clip" in arm else {}
    if base(arm) == "adam":
        return Part(name="backward", options=clip) if clip else None
    names: list[JsonValue] = ["mean_square" if base(arm) == "micro_adam" else "variance"]
    return Part(name="statistics", options={"names": names, "method": method, **clip})


def make(scale: Scale, part: str, arm: str, lr: float, seed: int, phase: str) -> Spec:
    """Return the spec of one tuning or fresh-seed run of part ``language`` or ``images``."""
    task = scale.language if part == "language" else scale.images
    optimizer: dict[str, JsonValue] = {"lr": lr, "betas": list(BETAS), "eps": EPS}
    optimizer["preconditioner"] = PRECONDITIONERS[base(arm)]
    if "+decay" in arm:
        optimizer["weight_decay"] = DECAY
    measures: tuple[Part, ...] = (Part(name="test"),) if phase == "fresh" else ()
    if phase == "fresh" and (part, arm) == ("language", "adam"):
        measures += (split(scale),)
    if phase == "fresh" and base(arm) == "micro_adam_msq":
        every = max(1, task.steps // scale.evaluations)
        measures += (Part(name="state_mean", options={"key": "clipped_share", "every": every}),)
    return Spec(
        problem=task.problem,
        optimizer=Part(name="micro_adam", options=optimizer),
        gradient=gradient(arm, scale.method),
        steps=task.steps,
        batch_size=task.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=measures,
        evaluations=scale.evaluations,
        tags={"study": STUDY, "part": part, "arm": arm, "phase": phase},
    )


def split(scale: Scale) -> Part:
    """Return the measurement of μ² and σ²."""
    return Part(name="moment_split", options={"examples": scale.examples, "method": scale.method})


def with_lr(spec: Spec, lr: float) -> Part:
    """Return the optimizer of a spec at another learning rate, six digits."""
    return Part(name=spec.optimizer.name, options={**spec.optimizer.options, "lr": float(f"{lr:.6g}")})


def stability(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return the short runs of an arm at multiples of the learning rate of one of its fresh runs."""
    optimum = float(fresh.optimizer.options["lr"])  # type: ignore[arg-type]
    return [
        fresh.model_copy(
            update={
                "optimizer": with_lr(fresh, optimum * multiple),
                "seed": seed,
                "steps": scale.stability_steps,
                "measures": (),
                "evaluations": 2,
                "tags": fresh.tags | {"part": "stability", "phase": "stability", "multiple": f"{multiple:g}"},
            }
        )
        for multiple in scale.multiples
        for seed in range(scale.stability_seeds)
    ]


def scaling(scale: Scale, fresh: Spec) -> list[Spec]:
    """Return Adam's runs of one seed at other batch sizes, by η ∝ B^p from the optimum at the task's own B.

    At that B the three exponents are one run. The split is measured under p = ½.
    """
    own = fresh.batch_size
    optimum = float(fresh.optimizer.options["lr"])  # type: ignore[arg-type]
    return [
        fresh.model_copy(
            update={
                "optimizer": with_lr(fresh, optimum * (size / own) ** exponent),
                "batch_size": size,
                "steps": fresh.steps * own // size,
                "measures": fresh.measures if size == own or exponent == 0.5 else fresh.measures[:1],
                "tags": fresh.tags | {"part": "scaling", "phase": "scaling", "arm": f"lr~B^{exponent:g}"},
            }
        )
        for exponent in EXPONENTS
        for size in scale.batch_sizes
    ]


def tuned_part(scale: Scale, part: str, records: list[Record]) -> list[Spec]:
    """Return the tuning and fresh-seed runs of a part that can be named so far."""
    task, arms = (scale.language, LANGUAGE_ARMS) if part == "language" else (scale.images, IMAGE_ARMS)
    grids = {arm: log_grid(center(arm, task), scale.points, 2.0) for arm in arms}

    def of_part(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(scale, part, arm, lr, seed, phase)

    own = [record for record in records if record.spec.tags["part"] == part]
    return tuning_then_fresh(grids, of_part, own, seeds=scale.seeds, extensions=scale.extensions)


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far."""
    return plan(PRESETS[preset], records)


def plan(scale: Scale, records: list[Record]) -> list[Spec]:
    """Return the runs of a study of this scale that can be named given the records so far."""
    found = tuned_part(scale, "language", records)
    fresh = [spec for spec in found if spec.tags["phase"] == "fresh"]
    found += tuned_part(scale, "images", records)
    for spec in fresh:
        if spec.tags["arm"] in STABILITY_ARMS and spec.seed == 0:
            found += stability(scale, spec)
        if spec.tags["arm"] == "adam":
            found += scaling(scale, spec)
    return found
