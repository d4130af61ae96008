"""Runs of the DGS study that follow from others: another network, a reset, a wrong learning rate, more steps."""

from collections.abc import Iterable

from regrad.results import Part, Schedule, Spec

RESETS = ("soft", "hard")


def fresh_of(specs: Iterable[Spec]) -> list[Spec]:
    return [spec for spec in specs if spec.tags["phase"] == "fresh"]


def at_best(specs: Iterable[Spec]) -> dict[str, Spec]:
    """Return each arm's first run at its tuned rate; arms whose tuning is not over have none."""
    found: dict[str, Spec] = {}
    for spec in fresh_of(specs):
        found.setdefault(spec.tags["arm"], spec)
    return found


def rates(specs: Iterable[Spec]) -> dict[str, float]:
    return {arm: spec.optimizer.lr for arm, spec in at_best(specs).items()}


def on_problem(spec: Spec, problem: Part, **tags: str) -> Spec:
    return spec.model_copy(update={"problem": problem, "tags": spec.tags | tags})


def with_reset(problem: Part, reset: str) -> Part:
    return Part(name=problem.name, options={**problem.options, "reset": reset})


def reset_runs(spec: Spec) -> list[Spec]:
    """Return a run's counterparts with our resets of the optimizer, which bring the same cosine of their own."""
    base = spec.optimizer.model_dump()
    return [
        spec.model_copy(
            update={
                "optimizer": Part(name="resetting", options={"base": base, "reset": reset, "steps": spec.steps}),
                "schedule": Schedule(shape="constant", warmup=0.0),
                "tags": spec.tags | {"phase": "reset", "reset": reset},
            }
        )
        for reset in RESETS
    ]


def moved_runs(spec: Spec, multiples: Iterable[float]) -> list[Spec]:
    """Return a run's counterparts at multiples of its learning rate."""
    return [
        spec.model_copy(
            update={
                "optimizer": spec.optimizer.with_lr(spec.optimizer.lr * multiple),
                "measures": (),
                "tags": spec.tags | {"phase": "stability", "multiple": f"{multiple:.3g}"},
            }
        )
        for multiple in multiples
    ]


def of_budget(spec: Spec, steps: int) -> Spec:
    return spec.model_copy(update={"steps": steps, "tags": spec.tags | {"phase": "budget"}})
