"""One test of a claim to its findings: whether these rows can decide it at all, then the kind that does."""

from collections.abc import Callable
from typing import Any, cast

from regrad.claims.edges import on_edge
from regrad.claims.gates import gates, shut
from regrad.claims.kinds.finding import Finding
from regrad.claims.kinds.outcome import NOT_TESTED, REFUTED, Outcome
from regrad.claims.kinds.prediction import prediction
from regrad.claims.kinds.rate import rate
from regrad.claims.kinds.ratio import ratio
from regrad.claims.kinds.rows import Rows, select
from regrad.claims.kinds.trend import trend
from regrad.claims.kinds.versus import paired
from regrad.claims.schema import AnyTest, Claim, Construction, Prediction, Trend, arms_of


def construction(test: Construction, rows: Rows) -> Outcome:
    """Look up the named proof among rows {proof, passed}; one that failed or did not run proves nothing."""
    passed = [bool(row["passed"]) for row in rows if row.get("proof") == test.proof]
    if not passed:
        return Outcome(NOT_TESTED, f"the proof {test.proof} did not run", comparison=test.proof)
    if not all(passed):
        return Outcome(NOT_TESTED, f"the proof {test.proof} failed", comparison=test.proof)
    return Outcome(REFUTED, f"proved by {test.proof}", comparison=test.proof)


DECIDE: dict[str, Callable[[Any, Rows], Outcome | list[Finding]]] = {
    "construction": construction,
    "paired": paired,
    "prediction": prediction,
    "rate": rate,
    "ratio": ratio,
    "trend": trend,
}


def run_test(
    claim: Claim, test: AnyTest, rows: Rows, *, preset: str, device: str, most: int | None
) -> Outcome | list[Finding]:
    """Return what one test of a claim found, or why this preset, device or set of runs cannot decide it.

    Args:
        claim: The claim.
        test: One of its tests.
        rows: Rows of its study.
        preset: Preset of the rows.
        device: Device of the rows.
        most: Seeds that this look has: no more can be asked for; None for all.
    """
    # Before the count of seeds, which asks for every arm of the ladder.
    if isinstance(test, Trend | Prediction):
        test = without_absent_rungs(test, rows)
    looked_at, metric, unit = gates(claim, rows, preset), getattr(test, "metric", ""), getattr(test, "unit", "")
    if reason := too_small(claim, preset=preset, device=device):
        return Outcome(NOT_TESTED, reason, metric=metric, unit=unit)
    least = cast("dict[str, int]", claim.presets)[preset]
    few = too_few(test, rows, least if most is None else min(least, most))
    if reason := shut(looked_at) or few:
        absent = few is not None or any(gate.value is None for gate in looked_at)
        return Outcome(NOT_TESTED, reason, metric=metric, unit=unit, absent=absent)
    if reason := on_edge(test, rows):
        return Outcome(NOT_TESTED, reason, metric=metric, unit=unit)
    return DECIDE[test.kind](test, rows)


def without_absent_rungs(test: Trend | Prediction, rows: Rows) -> Trend | Prediction:
    """Return the test without the rungs inside its ladder that this preset's study does not have."""
    ran = {row["arm"] for row in select(rows, test.metric, test.ladder)} | {test.ladder[0], test.ladder[-1]}
    return test.model_copy(update={"ladder": tuple(arm for arm in test.ladder if arm in ran)})


def too_small(claim: Claim, *, preset: str, device: str) -> str | None:
    """Return why this preset or device cannot decide the claim; None where it can."""
    if preset == "smoke":
        return "preset smoke shows that everything runs; it never yields a verdict"
    if preset not in claim.presets:
        return f"preset {preset} is below what the claim requires: {' or '.join(claim.presets)}"
    if claim.devices and device not in claim.devices:
        return f"device {device} is below what the claim requires: {' or '.join(claim.devices)}"
    return None


def too_few(test: AnyTest, rows: Rows, least: int) -> str | None:
    """Return which arm, rung or seed a test lacks; None where it has all that the ledger asks for."""
    if isinstance(test, Construction):
        return None
    arms = arms_of(test)
    if isinstance(test, Trend | Prediction) and len(arms) < 3:
        return f"no rung between {arms[0]} and {arms[-1]} has run"
    for metric in [test.metric, test.prediction] if isinstance(test, Prediction) else [test.metric]:
        seeds = {arm: {row["seed"] for row in select(rows, metric, [arm])} for arm in arms}
        if missing := [arm for arm in arms if not seeds[arm]]:
            return f"no run with {metric} of {', '.join(missing)}"
        # Pairs need both runs of a seed: seeds that only some arms have decide nothing.
        shared = len(set.intersection(*seeds.values()))
        if shared < least:
            return f"{shared} seeds shared by all arms for {metric}; fixed beforehand: at least {least}"
    return None
