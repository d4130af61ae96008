"""Verdicts as plain rows for JSON: the article, the README and the site read these and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

from regrad.claims.evaluate import Verdict
from regrad.claims.kinds.outcome import Outcome, alike

Plain = dict[str, Any]
FROM_LEDGER = (
    *("id", "paper", "short", "proved", "sentence", "quotation", "place", "source", "study"),
    *("falsified", "note", "presets"),
)


def as_rows(verdicts: Sequence[Verdict]) -> list[Plain]:
    """Return one plain mapping a verdict, in order; what is unbounded is None, as strict JSON has no infinity."""
    return [_row(verdict) for verdict in verdicts]


def estimate_text(row: Mapping[str, Any]) -> str:
    """Return estimate, intervals (95 %, and corrected where there is a p) and unit of a row, in ASCII, or a dash."""
    if row["estimate"] is None:
        return "-"
    intervals = [row["interval"], row.get("interval_holm")]
    if intervals[1] == intervals[0]:
        del intervals[1]  # alone in its family
    pairs = [pair for pair in intervals if pair and None not in pair]
    estimate, *ends = alike(row["estimate"], *chain(*pairs), by=(row["estimate"], *chain(*pairs[:1])))
    between = "".join(f" [{low}, {high}]" for low, high in zip(ends[::2], ends[1::2], strict=True))
    return f"{estimate}{between} {row['unit']}".strip()


def _row(verdict: Verdict) -> Plain:
    claim = verdict.claim.model_dump(mode="json")
    return (
        {key: claim[key] for key in FROM_LEDGER}
        | {"short": claim["short"] or claim["sentence"]}
        | _outcome(verdict.outcome)
        | {
            "verdict": verdict.verdict,
            "why": verdict.why,
            "waits": "",  # for runs of a published set that is not complete
            "p_holm": verdict.p_holm,
            "interval_holm": list(verdict.interval_holm) if verdict.interval_holm else None,
            "look": verdict.at.n,
            "alpha": verdict.at.alpha,
            "preset": verdict.preset,
            "device": verdict.device,
            "label": verdict.label,
            "parameters": [],
            "gates": [gate.row() for gate in verdict.gates],
            "margin": getattr(verdict.test, "margin", None),
            "test": verdict.test.model_dump(mode="json"),
            "tests": [
                _outcome(outcome) | {"test": test.model_dump(mode="json")}
                for test, outcome in zip(verdict.claim.test, verdict.outcomes, strict=False)
            ],
        }
    )


def _outcome(outcome: Outcome) -> Plain:
    values = asdict(replace(outcome, ends=None))
    del values["ends"]
    ends = [values.pop("low"), values.pop("high")]  # of an unbounded interval both are None, yet there is an estimate
    return values | {
        "interval": ends if outcome.estimate is not None else None,
        "magnitude": outcome.magnitude,
        "arms": list(outcome.arms),
        "diverged": dict(outcome.diverged),
    }
