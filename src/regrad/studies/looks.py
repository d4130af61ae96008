"""Plans in looks: every arm has the seeds of the first look, and those that a claim left open the seeds of the next.

The ledger decides each claim on the runs with seed < n₁ first. Only an arm that a claim reads which is open then gets
the seeds up to n₂, and so on. What a look leaves open depends on tuning runs and on its own seeds alone, so that a plan
never takes a run back when later seeds arrive. A claim is asked as soon as the groups of runs that it reads are whole;
one about a ladder with absent rungs, which may be still to come, not before all are.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import regrad
from regrad.groups import arm_of, whole
from regrad.report.outcomes import FRESH
from regrad.results import Record, Spec
from regrad.statistics.sequential import DESIGN
from regrad.studies.grids import FreshSeeds

HEADLINES = ("small",)  # presets that are the runs of rank 0 of one with looks, at its first look
LEDGER = Path(regrad.__file__).parents[2] / "paper" / "claims.toml"
PlanOf = Callable[[list[Record], FreshSeeds], list[Spec]]
ClaimRows = Callable[[Sequence[Record]], Sequence[Mapping[str, Any]]]


def later(phase: str, seed: int) -> bool:
    """Whether a run is not one of the first look's, which reads all tuning runs and the first seeds of the others."""
    return phase != "tune" and seed >= DESIGN.ns[0]


def specs_in_looks(
    study: str, preset: str, records: list[Record], *, plan: PlanOf, claim_rows: ClaimRows, seeds: int
) -> list[Spec]:
    """Return every spec that can be named given ``records``, with as many fresh seeds as its claims need.

    Args:
        study: Name of the study, as in the ledger.
        preset: Its looks are the ledger's.
        records: What has been run so far.
        plan: The study's plan, given the records and the number of seeds of each part and arm.
        claim_rows: What the study's claims are decided from.
        seeds: Fresh seeds of a preset with one look.
    """
    from regrad.claims.load import load  # here, since a plan at one look needs neither ledger nor scipy
    from regrad.claims.looks import LOOKS, open_runs

    if preset in HEADLINES:
        return [s for s in plan(records, lambda part, arm: DESIGN.ns[0]) if s.tags["rank"] == "0"]
    if (looks := LOOKS.get(preset)) is None:
        return plan(records, lambda part, arm: seeds)
    claims = [claim for claim in load(LEDGER) if claim.study == study]
    left: Sequence[Any] = claims
    here = {record.spec.key() for record in records}
    wanted: dict[tuple[str, str], int] = {}

    def fresh(part: str, arm: str) -> int:
        return wanted.get((part, arm), looks.ns[0])

    def keyed() -> list[tuple[str, Spec]]:
        return [(spec.key(), spec) for spec in plan(records, fresh)]

    named = keyed()
    ranks = {arm_of(spec): spec.tags["rank"] for _, spec in named if spec.tags["phase"] == FRESH}
    for look, n in enumerate(looks.ns[1:]):
        missing = [spec for key, spec in named if key not in here]
        read = whole(records, missing)
        if not read:
            break
        device, growing = read[0].fingerprint.device, bool(missing)
        left, opened = open_runs(
            claims, claim_rows, read, looks, look, left=left, preset=preset, device=device, growing=growing
        )
        if not opened:  # then no later look opens anything either
            break
        wanted.update(dict.fromkeys(opened, n))
        before = {key for key, _ in named}
        named += [(key, of_look(look + 2, spec, ranks)) for key, spec in keyed() if key not in before]
    return [spec for _, spec in named]


def of_look(look: int, spec: Spec, ranks: Mapping[tuple[str, str], str]) -> Spec:
    """Return a run with its tags: it decides as much as its arm's first look did."""
    return spec.model_copy(update={"tags": spec.tags | {"look": str(look), "rank": ranks.get(arm_of(spec), "2")}})
