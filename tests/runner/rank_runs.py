"""Runs that a group of gloo processes carries out together, as `torchrun -m regrad ranks` does: tiny studies."""

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from regrad.pipeline import together
from regrad.pipeline.folders import Folders
from regrad.problems.language import LanguageProblem
from regrad.results import Part
from regrad.runner import resume
from regrad.studies.study import Study
from tiny_runs import TOPICS, spec

STUDY = Study(name="study", title="Study", notebook="01_study")


def wide(**changes):
    """Six steps of a decoder in float64, eight sequences a batch."""
    problem = Part(name="language", options=TOPICS | {"dtype": "float64"})
    return spec(problem=problem, **{"steps": 6, "batch_size": 8, "evaluations": 3} | changes)


def specs():
    """Every kind of gradient and optimizer, by name."""
    variance = Part(name="statistics", options={"names": ["variance"], "max_norm": 1.0})
    base = {"name": "adamw", "options": {"lr": 0.01}}
    sgg = Part(name="sgg", options={"base": base, "interval": 2})
    micro, adam = (Part(name=name, options={"lr": 0.01}) for name in ("micro_adam", "adam"))
    moments = Part(name="moment_split", options={"examples": 8, "method": "graph", "shares": [0.0, 0.5, 1.0]})
    losses = (Part(name="test"), Part(name="split_losses"))
    cubes = {"function": "pow", "arguments": {"exponent": 3}}
    return {
        "moments": wide(measures=(moments,)),
        "cubes by vmap": wide(gradient=Part(name="elementwise", options=cubes)),
        "sgg scales": wide(optimizer=sgg, measures=(Part(name="scale_range"),)),
        "sgg": wide(optimizer=sgg),
        "micro_adam": wide(
            optimizer=micro,
            gradient=variance,
            measures=(*losses, Part(name="state_mean", options={"key": "clipped_share"})),
        ),
        "clipped adam": wide(optimizer=adam, gradient=Part(name="backward", options={"max_norm": 0.5})),
        "signs of examples": wide(gradient=Part(name="example_signs", options={"method": "graph"})),
        "dgs": wide(optimizer=Part(name="dgs", options={"lr": 0.05})),
        "float32": spec(steps=6, batch_size=8, evaluations=3),
        "six of a batch": wide(batch_size=6),
        "diverges": wide(optimizer=Part(name="sgd", options={"lr": 1e300})),
    }


def stop_rank_1_at(step: int) -> None:
    """Ask rank 1 alone to stop while it computes a step."""
    batch = LanguageProblem.batch

    def stopping(self, number, size):
        if number == step and os.environ["RANK"] == "1":
            signal.raise_signal(signal.SIGTERM)
        return batch(self, number, size)

    LanguageProblem.batch = stopping


def end_time_of_rank_1_at(step: int) -> None:
    """Let time be over for rank 1 alone while it computes a step."""
    batch, clock = LanguageProblem.batch, resume.time.time

    def late(self, number, size):
        if number == step and os.environ["RANK"] == "1":
            resume.time = SimpleNamespace(**vars(time) | {"time": lambda: clock() + 1e6})
        return batch(self, number, size)

    LanguageProblem.batch = late


def main(root: Path, cache: Path, way: str, names: list[str]) -> int:
    """Carry out the runs named."""
    together.plan_of = lambda target: lambda preset, records: [specs()[name] for name in names]
    if "STOP_AT" in os.environ:
        stop_rank_1_at(int(os.environ["STOP_AT"]))
    if "OVER_AT" in os.environ:
        end_time_of_rank_1_at(int(os.environ["OVER_AT"]))
    minutes = float(os.environ["MINUTES"]) if "MINUTES" in os.environ else None
    order = together.Together([STUDY], "smoke", "cpu", way, minutes=minutes)
    return together.carry_out(Folders(root, cache), order)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")))
