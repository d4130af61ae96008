"""Where the sign goes: signSGD with the sign before or after each of two averages (per-example paper, C3).

The arms differ in the place of the sign: ``example`` takes it of every example's gradient,
``group-k`` of means of k examples, ``batch`` of the batch mean, all three before the moving average,
and ``ema`` after it. Update sizes differ by a factor of up to κ√B, so each arm has its own grid, around
the learning rate at which its update in the noise-limited regime is as long as ``ema``'s.
"""

import math
from typing import NamedTuple

from pydantic import JsonValue

from regrad.results import Part, Record, Schedule, Spec
from regrad.studies.grids import log_grid, tuning_then_fresh

STUDY = "sign_placement"
MOMENTUM = 0.9


class Scale(NamedTuple):
    """What a preset sets: sizes only.

    Attributes:
        problem: Options of the language problem.
        batch_size: B, sequences.
        steps: Optimizer steps.
        center: Learning rate at the middle of the grid of ``ema``.
        points: Learning rates in the first grid of every arm.
        ratio: Between neighbours of a grid.
        seeds: Numbers of tuning and of fresh seeds.
        groups: Sizes k of the micro-batch rungs.
        examples: Examples whose gradients are looked at one by one, at each of the checkpoints.
    """

    problem: dict[str, JsonValue]
    batch_size: int
    steps: int
    center: float
    points: int
    ratio: float
    seeds: tuple[int, int]
    groups: tuple[int, ...]
    examples: int
    method: str = "vmap"


def news(model: str, sequence_length: int, evaluation_sequences: int) -> dict[str, JsonValue]:
    """Return the options of the byte-level news problem."""
    return {
        "corpus": "news",
        "model": model,
        "sequence_length": sequence_length,
        "evaluation_sequences": evaluation_sequences,
    }


# About 430 tokens a document: more than the 1.15 billion that 70,000 steps of 64 sequences of 256 take.
C4: dict[str, JsonValue] = {
    "corpus": "c4",
    "documents": 3_000_000,
    "tokenizer": "bpe",
    "vocabulary": 32000,
    "model": "60M",
    "sequence_length": 256,
}

PRESETS: dict[str, Scale] = {
    "smoke": Scale(news("0.1M", 32, 32), 16, 25, 2e-3, 3, 2.0, (1, 2), (4,), 32),
    "small": Scale(news("0.1M", 64, 128), 16, 200, 2e-3, 5, 2.0, (2, 5), (2, 4, 8), 128),
    "full": Scale(news("10M", 256, 512), 64, 2000, 5e-4, 7, math.sqrt(2), (3, 10), (4, 16), 256, "graph"),
    "paper": Scale(
        {**C4, "evaluation_sequences": 2048}, 64, 70_000, 3e-4, 7, math.sqrt(2), (3, 10), (4, 16), 256
    ),
}


def ema_gain(momentum: float) -> float:
    """Return κ, by which a moving average of independent inputs raises their signal-to-noise ratio."""
    return math.sqrt((1 + momentum) / (1 - momentum))


def signs_averaged(arm: str, batch_size: int) -> float:
    """Return over how many independent signs an arm averages: B, B/k, 1; for ``ema`` none."""
    sizes = {"example": float(batch_size), "batch": 1.0}
    return sizes[arm] if arm in sizes else batch_size / int(arm.removeprefix("group-"))


def center(arm: str, scale: Scale) -> float:
    """Return the predicted best learning rate of an arm: ``ema``'s over its root-mean-square update.

    In the noise-limited regime the update's size is 1 for ``ema`` and 1/(κ √m) for a moving average
    of means of m independent signs.
    """
    if arm == "ema":
        return scale.center
    return scale.center * ema_gain(MOMENTUM) * math.sqrt(signs_averaged(arm, scale.batch_size))


def arms(scale: Scale) -> list[str]:
    """Return the arms, from the earliest sign to the latest."""
    return ["example", *(f"group-{k}" for k in scale.groups), "batch", "ema"]


def noise_measure(scale: Scale) -> Part:
    """Return the measurement of per-example gradients that the predictions come from."""
    options: dict[str, JsonValue] = {
        "examples": scale.examples,
        "batch_size": scale.batch_size,
        "momentum": MOMENTUM,
        "groups": list(scale.groups),
    }
    return Part(name="gradient_noise", options=options)


def make(scale: Scale, arm: str, lr: float, seed: int, phase: str) -> Spec:
    """Return the spec of one run."""
    early = arm not in ("batch", "ema")
    group_size = 1 if arm == "example" else int(arm.removeprefix("group-")) if early else 1
    signs = Part(name="example_signs", options={"group_size": group_size, "method": scale.method})
    optimizer: dict[str, JsonValue] = {
        "lr": lr,
        "momentum": MOMENTUM,
        "placement": "example" if early else arm,
    }
    measures = (Part(name="test"),) if phase == "fresh" else ()
    return Spec(
        problem=Part(name="language", options=scale.problem),
        optimizer=Part(name="sign_sgd", options=optimizer),
        gradient=signs if early else None,
        steps=scale.steps,
        batch_size=scale.batch_size,
        seed=seed,
        schedule=Schedule(shape="cosine", warmup=0.05, final=0.1),
        measures=(*measures, noise_measure(scale)) if phase == "fresh" and arm == "ema" else measures,
        evaluations=10,
        tags={"study": STUDY, "arm": arm, "phase": phase},
    )


def specs(preset: str, records: list[Record]) -> list[Spec]:
    """Return all runs of the study that can be named given the records so far."""
    scale = PRESETS[preset]
    grids = {arm: log_grid(center(arm, scale), scale.points, scale.ratio) for arm in arms(scale)}

    def of_study(arm: str, lr: float, seed: int, phase: str) -> Spec:
        return make(scale, arm, lr, seed, phase)

    return tuning_then_fresh(grids, of_study, records, seeds=scale.seeds)
