"""Which claims a look decides, and which runs the others need more seeds of: pure functions of the first seeds."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from regrad.claims.edges import with_edges
from regrad.claims.evaluate import At, Verdict, adjust, evaluate
from regrad.claims.kinds.finding import Level
from regrad.claims.kinds.outcome import INCONCLUSIVE, NO_CASE, NOT_TESTED, Outcome
from regrad.claims.kinds.rows import Rows, select
from regrad.claims.schema import AnyTest, Claim, Construction, Prediction, Ratio, Trend, arms_of
from regrad.groups import arm_of
from regrad.results import Record
from regrad.statistics.sequential import DESIGN, FUTILE, Looks

ClaimRows = Callable[[Sequence[Record]], Sequence[Mapping[str, Any]]]

LOOKS = {"medium": DESIGN}  # presets with more than one look


def cut(records: Iterable[Record], n: int | None) -> list[Record]:
    """Return the records that a look at n seeds reads: all tuning runs, and of the others the seeds below n."""
    return [r for r in records if n is None or r.spec.tags.get("phase") == "tune" or r.spec.seed < n]


def rows_at(claim_rows: ClaimRows, records: Sequence[Record], n: int | None = None) -> Rows:
    """Return the rows that a look at n seeds judges, with arms marked whose optimum lies on an edge."""
    here = cut(records, n)
    return with_edges(claim_rows(here), here)


def family_size(claims: Iterable[Claim], claim: Claim, preset: str) -> int:
    """Return how many claims of a claim's family may rest on a p-value at this preset: the most Holm can divide by."""
    return sum(
        (other.paper, other.study) == (claim.paper, claim.study)
        and preset in other.presets
        and any(not (isinstance(test, Construction) or getattr(test, "every", False)) for test in other.test)
        for other in claims
    )


def judge_all(
    claims: Sequence[Claim],
    claim_rows: ClaimRows,
    records: Sequence[Record],
    looks: Looks | None = None,
    *,
    preset: str,
    device: str,
) -> list[Verdict]:
    """Return each claim's verdict at the look at which it stopped, with Holm's correction over its family.

    Args:
        claims: The ledger's claims of one study.
        claim_rows: The study's pure function from records to rows.
        records: The study's records.
        looks: The preset's looks; None for one look at all seeds.
        preset: Preset of the records.
        device: Device of the records.
    """
    if looks is None:
        rows = rows_at(claim_rows, records)
        return adjust([evaluate(claim, rows, preset=preset, device=device) for claim in claims])
    found: dict[str, Verdict] = {}
    for look, n in enumerate(looks.ns):
        rows = rows_at(claim_rows, records, n)
        for claim in [claim for claim in claims if claim.id not in found]:
            verdict = evaluate_at(look, looks, claim, claims, rows, preset=preset, device=device)
            if look == looks.last or stopped(verdict):
                found[claim.id] = verdict if look == looks.last else explained(verdict)
            elif awaited(claim, rows, records, min(looks.ns[look + 1], asked_seeds(claim, preset))):
                found[claim.id] = replace(verdict, why=f"{verdict.why}; the next look's seeds have not all run")
    return adjust([found[claim.id] for claim in claims])


def stopped(verdict: Verdict) -> bool:
    """Whether a look before the last ends a claim: decided, not tested, or futile.

    Rates of which both are zero are not tested: after five seeds the next may bring the first run that diverges, after
    ten nothing more is run.
    """
    if verdict.verdict == NOT_TESTED and NO_CASE in verdict.why:
        return verdict.at.n != DESIGN.ns[0]
    return verdict.verdict != INCONCLUSIVE or futile(verdict)


def explained(verdict: Verdict) -> Verdict:
    """Return the verdict of a look before the last, saying so where it gives up."""
    if verdict.verdict != INCONCLUSIVE:
        return verdict
    return replace(verdict, why=f"{verdict.why}; the regime is too noisy: more than {FUTILE} pairs would be needed")


def futile(verdict: Verdict) -> bool:
    """Whether no open test of a claim can be decided by seeds within reach, at the spread and the gain seen.

    A test without a spread (one pair, ranks) has no such forecast and is not futile. Nor is, at five seeds, a ratio or
    a ladder all of whose steps must be kept: they name a step, and an end of a range, too freely.
    """
    left = [pair for pair in zip(verdict.claim.test, verdict.outcomes, strict=True) if pair[1].verdict == INCONCLUSIVE]
    return all(_hopeless(test, outcome, verdict.at.n or outcome.n) for test, outcome in left)


def _hopeless(test: AnyTest, outcome: Outcome, seeds: int) -> bool:
    if seeds <= DESIGN.ns[0] and (not outcome.detectable or (isinstance(test, Trend) and test.monotone)):
        return False
    if isinstance(test, Ratio):
        # Rounds of a benchmark do not wait for seeds; no number where those there are would be enough at 5 %.
        return outcome.needed_n is not None and outcome.needed_n * seeds / outcome.n > FUTILE
    # No number of pairs although there is a spread: more than anybody would run.
    return bool(outcome.detectable) if outcome.needed_n is None else outcome.needed_n > FUTILE


def awaited(claim: Claim, rows: Rows, records: Iterable[Record], n: int) -> bool:
    """Whether an arm that a claim reads has not the n seeds of the next look, as in a set that still grows."""
    arms = runs_of(row for test in claim.test for row in rows_read(test, rows))
    # Not their phase: runs at rates around the optimum are fresh too, and a seed has several.
    seeds = {(arm_of(r.spec), r.spec.seed) for r in records if r.spec.tags.get("phase") != "tune"}
    counts = Counter(arm for arm, _ in seeds)
    return any(0 < counts[arm] < n for arm in arms)


def asked_seeds(claim: Claim, preset: str) -> int:
    """Return the seeds that a claim asks for at a preset; none where it is not judged there."""
    return cast("dict[str, int]", claim.presets).get(preset, 0)


def rows_read(test: AnyTest, rows: Rows) -> list[Mapping[str, Any]]:
    """Return the rows that a test reads."""
    if isinstance(test, Construction):
        return []
    metrics = [test.metric, test.prediction] if isinstance(test, Prediction) else [test.metric]
    return [row for metric in metrics for row in select(rows, metric, arms_of(test))]


def complete(test: AnyTest, rows: Rows) -> bool:
    """Whether a test is about no ladder, or about one all of whose rungs have rows."""
    ladder = set(getattr(test, "ladder", ()))
    return ladder <= {row["arm"] for row in rows_read(test, rows)}


def runs_of(rows: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return the (part, arm) that rows were computed from."""
    return {(part, arm) for row in rows for part, arm in row.get("runs", ())}


def open_runs(
    claims: Sequence[Claim],
    claim_rows: ClaimRows,
    records: Sequence[Record],
    looks: Looks,
    look: int = 0,
    *,
    left: Sequence[Claim],
    preset: str,
    device: str,
    growing: bool = False,
) -> tuple[Sequence[Claim], set[tuple[str, str]]]:
    """Return the claims that a look leaves open, and the (part, arm) whose runs they need up to the next look's seeds.

    Those that rows of an open claim name under ``runs``. A claim is open where every look up to this one leaves it
    inconclusive and not futile; one that is not tested (a gate, an arm without rows) stays so, whatever seeds come.

    Only tuning runs and seeds below ``looks.ns[look]`` are read, so the answer does not change when later seeds arrive.
    Give whole groups of runs of these looks alone: a row may be computed from half a grid otherwise.

    Args:
        claims: The ledger's claims of one study, all of them: a family's size is part of the rule.
        claim_rows: The study's pure function from records to rows.
        records: The study's records; those of later seeds are passed over.
        looks: The preset's looks.
        look: Index of the look that is over; after the last nothing is open.
        left: The claims that the look before it left open; all of them at the first.
        preset: Preset of the records.
        device: Device of the records.
        growing: Whether groups of runs of these looks are still missing. A ladder then waits until all its rungs are
            there: those that are not may be still to come.
    """
    if look >= looks.last:
        return (), set()
    rows = rows_at(claim_rows, records, looks.ns[look])
    asked = [claim for claim in left if not growing or all(complete(test, rows) for test in claim.test)]
    verdicts = [evaluate_at(look, looks, claim, claims, rows, preset=preset, device=device) for claim in asked]
    still = [verdict.claim for verdict in verdicts if not stopped(verdict)]
    return still, runs_of(row for claim in still for test in claim.test for row in rows_read(test, rows))


def evaluate_at(
    look: int, looks: Looks, claim: Claim, claims: Iterable[Claim], rows: Rows, *, preset: str, device: str
) -> Verdict:
    """Return what a look says of one of a study's claims, given that look's rows."""
    level = Level(looks.level(look, family_size(claims, claim, preset)), looks.alphas[look])
    return evaluate(claim, rows, preset=preset, device=device, at=At(looks.ns[look], looks.alphas[look], level))
