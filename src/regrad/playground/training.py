"""Train one: a published run with your optimizer, rate and seed; your curve over the band of the published seeds."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from regrad.playground.controls import Choice, Control, Slider
from regrad.playground.explore import View
from regrad.playground.narrowing import READ, arm_in_words, choice
from regrad.playground.shelf import Shelf
from regrad.report.marks import draw_range
from regrad.report.outcomes import FRESH, Outcomes
from regrad.report.palette import GREY, ORANGE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.results import Part, Record, Spec

SECONDS = 5.0  # of a part's quickest run, at most: one is waited for
STUDIES = ("alsdgc", "dgs")  # with runs that short, at the sizes of a published set
PUBLISHED = "as published"
OPTIMIZERS: dict[str, Part] = {
    "SGD": Part(name="sgd", options={"momentum": 0.9}),
    "Adam": Part(name="adam"),
    "SignSGD": Part(name="sign_sgd", options={"momentum": 0.9, "placement": "ema"}),
    "SGG around AdamW": Part(name="sgg", options={"base": {"name": "adamw", "options": {"lr": 1.0}}, "interval": 100}),
    "DGS, the steps": Part(name="dgs", options={"reading": "steps"}),
}


class Workshop(NamedTuple):
    """What is trained from: published records, and where data lie."""

    shelf: Shelf
    cache: Path


@lru_cache(maxsize=2)
def parts(shelf: Shelf) -> dict[str, Outcomes]:
    """Return the fresh runs of each part that is quick enough, the quickest first, by study and part.

    Raises:
        ValueError: None is.
    """
    quickest = {}
    for name in [name for name in STUDIES if name in shelf.studies]:
        runs = [run for run in shelf.of(name) if run.went]
        for part in dict.fromkeys(run.record.spec.tags["part"] for run in runs):
            own = [run for run in runs if run.record.spec.tags["part"] == part]
            took = min(run.went.seconds for run in own if run.went)  # the others shared their machine
            fresh = [run.record for run in own if run.record.spec.tags["phase"] == FRESH]
            if took <= SECONDS and fresh:
                quickest[f"{name}, {part}"] = took, Outcomes(fresh)
    found = {name: outcomes for name, (_, outcomes) in sorted(quickest.items(), key=lambda item: item[1][0])}
    if not found:
        raise ValueError(f"{shelf.folder.name}: no published run takes less than {SECONDS:.0f} s; take a smaller set")
    return found


def chosen(state: Workshop, values: Mapping[str, Any]) -> tuple[dict[str, Choice], Outcomes]:
    by_part = parts(state.shelf)
    problem = Choice(tuple(by_part), words=tuple(map(said, by_part)))
    here = by_part[values["problem"] if values.get("problem") in by_part else problem.default]
    band = choice("arm", here.arms)
    outcomes = here.arm(values["band"] if values.get("band") in here.arms else band.default)
    return {"problem": problem, "band": band, "optimizer": Choice((PUBLISHED, *OPTIMIZERS), "SGD")}, outcomes


def said(problem: str) -> str:
    """Return the words of a problem: its study and part."""
    study, _, part = problem.partition(", ")
    return f"{READ['study'](study)}, {READ['part'](part)}"


def controls(state: Workshop, values: Mapping[str, Any]) -> Mapping[str, Control]:
    choices, _ = chosen(state, values)
    return {**choices, "rate_times": Slider(0.01, 100.0, 1.0, log=True), "seed": Slider(0, 99, 0, whole=True)}


def yours(published: Spec, optimizer: str, rate_times: float, seed: int) -> Spec:
    """Return a published spec with another optimizer, rate and seed."""
    rate = published.optimizer.lr * rate_times
    changed: dict[str, Any] = {"seed": seed, "measures": ()}
    if optimizer == PUBLISHED:
        return published.model_copy(update=changed | {"optimizer": published.optimizer.with_lr(rate)})
    part = OPTIMIZERS[optimizer].with_lr(rate)
    return published.model_copy(update=changed | {"optimizer": part, "scaler": None, "gradient": None})


def train(spec: Spec, published: Record, cache: Path) -> Record:
    """Train, and keep nothing."""
    from regrad.runner.train import run

    return run(spec, published.fingerprint, cache=cache)


def draw(state: Workshop, *, optimizer: str, rate_times: float, seed: int, **values: str) -> View:
    """Return your curve over the range of the published seeds."""
    _, outcomes = chosen(state, values)
    published = outcomes.records[0]
    spec = yours(published.spec, optimizer, rate_times, seed)
    mine = train(spec, published, state.cache)
    steps, losses = outcomes.curve()
    with canvas(width=PAGE_INCHES, height=2.8) as (figure, axis):
        if steps:
            draw_range(axis, steps, losses, color=GREY, alpha=0.3)
            label = f"published: {arm_in_words(values['band'])}, {len(losses[0])} seeds"
            axis.plot(steps, [median(at) for at in losses], color=GREY, label=label)
        curve = mine.curves["validation_loss"]
        axis.plot(curve.x, curve.y, color=ORANGE, lw=1.6, marker="o", ms=2.5, label=f"yours: {optimizer}")
        axis.set(xlabel="optimizer steps", ylabel="validation loss", title=said(values["problem"]))
        axis.legend()
    end = f"diverged, {mine.status}" if mine.diverged else f"ends at {mine.metrics['validation_loss']:.4g}"
    about = f"{spec.optimizer.name}, rate {spec.optimizer.lr:.3g}, seed {seed}, {mine.parameters:,} parameters"
    return View(figure, f"Yours {end}: {about}. Nothing was kept.")
