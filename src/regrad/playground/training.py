"""Train one: a published run with your optimizer, rate and seed; your curve over the band of the published seeds."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from regrad.groups import arm_of
from regrad.playground.controls import Choice, Control, Slider
from regrad.playground.explore import View
from regrad.playground.narrowing import READ, arm_in_words, choice
from regrad.playground.shelf import Run, Shelf
from regrad.report.marks import draw_range
from regrad.report.outcomes import Outcomes
from regrad.report.palette import GREY, ORANGE
from regrad.report.style import PAGE_INCHES, canvas
from regrad.results import Part, Spec

QUICK = 10.0  # seconds of an arm's quickest published run, at most
SECONDS = 2.7  # of training: one waits for it, and the page draws meanwhile
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


class Offer(NamedTuple):
    """A part's arms that are quick enough."""

    fresh: Outcomes
    seconds: dict[str, float]  # of each arm's quickest run


@lru_cache(maxsize=2)
def offers(shelf: Shelf) -> dict[str, Offer]:
    """Return what can be trained while one waits, by study and part, the quickest part first.

    Raises:
        ValueError: Nothing can.
    """
    found = {}
    for name in [name for name in STUDIES if name in shelf.studies]:
        outcomes, took = Outcomes(run.record for run in shelf.of(name)), seconds(shelf.of(name))
        for part in outcomes.fresh.values("part"):
            quick = {arm: least for (at, arm), least in took.items() if at == part and least <= QUICK}
            if fresh := outcomes.fresh.part(part).arm(*quick):
                found[f"{name}, {part}"] = Offer(fresh, quick)
    if not found:
        raise ValueError(f"{shelf.folder.name}: no published run takes less than {QUICK:.0f} s; take a smaller set")
    return dict(sorted(found.items(), key=lambda item: min(item[1].seconds.values())))


def seconds(runs: Iterable[Run]) -> dict[tuple[str, str], float]:
    """Return the seconds of each part's and arm's quickest whole run: the others shared their machine."""
    found: dict[tuple[str, str], float] = {}
    for record, went, _ in runs:
        if went is not None and record.finite:
            found[arm_of(record.spec)] = min(found.get(arm_of(record.spec), inf), went.seconds)
    return found


def chosen(state: Workshop, values: Mapping[str, Any]) -> tuple[dict[str, Choice], Outcomes, float]:
    """Return the lists, and of the band that they name its runs and seconds."""
    offered = offers(state.shelf)
    problem = Choice(tuple(offered), words=tuple(map(said, offered)))
    here = offered[values["problem"] if values.get("problem") in offered else problem.default]
    band = choice("arm", here.fresh.arms)
    arm = values["band"] if values.get("band") in here.fresh.arms else band.default
    lists = {"problem": problem, "band": band, "optimizer": Choice((PUBLISHED, *OPTIMIZERS), "SGD")}
    return lists, here.fresh.arm(arm), here.seconds[arm]


def said(problem: str) -> str:
    """Return the words of a problem: its study and part."""
    study, _, part = problem.partition(", ")
    return f"{READ['study'](study)}, {READ['part'](part)}"


def controls(state: Workshop, values: Mapping[str, Any]) -> Mapping[str, Control]:
    choices, *_ = chosen(state, values)
    return {**choices, "rate_times": Slider(0.01, 100.0, 1.0, log=True), "seed": Slider(0, 99, 0, whole=True)}


def yours(published: Spec, optimizer: str, rate_times: float, seed: int) -> Spec:
    """Return a published spec with another optimizer, rate and seed."""
    rate = published.optimizer.lr * rate_times
    changed: dict[str, Any] = {"seed": seed, "measures": ()}
    if optimizer == PUBLISHED:
        return published.model_copy(update=changed | {"optimizer": published.optimizer.with_lr(rate)})
    part = OPTIMIZERS[optimizer].with_lr(rate)
    return published.model_copy(update=changed | {"optimizer": part, "scaler": None, "gradient": None})


def last_step(spec: Spec, took: float) -> int:
    """Return the last evaluation that is reached in ``SECONDS`` of a run that took ``took``: at least the first one."""
    from regrad.runner.train import evaluation_steps

    after = sorted(evaluation_steps(spec.steps, spec.evaluations))[1:]  # the first one is the untrained model
    return max([step for step in after if step * took <= spec.steps * SECONDS], default=after[0])


def draw(state: Workshop, *, optimizer: str, rate_times: float, seed: int, **values: str) -> View:
    """Return your curve over the range of the published seeds; nothing is kept."""
    from regrad.runner.repeat import begin

    _, band, took = chosen(state, values)
    spec = yours(band.records[0].spec, optimizer, rate_times, seed)
    last = last_step(spec, took)
    curves, finite = begin(spec, last, cache=state.cache, device=band.records[0].fingerprint.device)
    mine = curves.points["validation_loss"]
    steps, losses = band.curve()
    with canvas(width=PAGE_INCHES, height=2.8) as (figure, axis):
        if steps:
            draw_range(axis, steps, losses, color=GREY, alpha=0.3)
            label = f"published: {arm_in_words(values['band'])}, {len(losses[0])} seeds"
            axis.plot(steps, [median(at) for at in losses], color=GREY, label=label)
        axis.plot(*mine, color=ORANGE, lw=1.6, marker="o", ms=2.5, label=f"yours: {optimizer}")
        axis.set(xlabel="optimizer steps", ylabel="validation loss", title=said(values["problem"]))
        axis.legend()
    end = f"is at {mine[1][-1]:.4g} after {last:,} of {spec.steps:,} steps" if finite else "diverged"
    about = f"{spec.optimizer.name}, rate {spec.optimizer.lr:.3g}, seed {seed}"
    return View(figure, f"Yours {end}: {about}. Nothing was kept.")
