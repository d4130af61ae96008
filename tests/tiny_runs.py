"""Specs of runs that take milliseconds and need no network, and records made by hand."""

from typing import Any

from regrad.results import Curve, Fingerprint, Part, Record, Spec, run_id

TOPICS = {"corpus": "python-topics", "model": "0.1M", "sequence_length": 8, "evaluation_sequences": 4}
FINGERPRINT = Fingerprint(code="c0de", data="da7a", torch="2.13.0", device="cpu")


def spec(**changes: Any) -> Spec:
    """Two steps of SGD on the smallest decoder and Python's help topics."""
    values: dict[str, Any] = {
        "problem": Part(name="language", options=TOPICS),
        "optimizer": Part(name="sgd", options={"lr": 0.1}),
        "steps": 2,
        "batch_size": 2,
        "seed": 0,
        "evaluations": 1,
    }
    return Spec(**(values | changes))


def sgd(lr: float) -> Part:
    return Part(name="sgd", options={"lr": lr})


def record(of: Spec | None = None, **changes: Any) -> Record:
    """A finished record with a curve and a metric."""
    of = of or spec()
    values: dict[str, Any] = {
        "run_id": run_id(of, FINGERPRINT),
        "spec": of,
        "fingerprint": FINGERPRINT,
        "status": "finished",
        "metrics": {"validation_loss": 2.5},
        "curves": {"validation_loss": Curve(x=[0.0, 2.0], y=[5.5, 2.5])},
        "parameters": 7,
    }
    return Record(**(values | changes))
