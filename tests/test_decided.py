"""What a listing says of claims while runs are missing: only arms of which none is missing count."""

from pathlib import Path

import pytest

import dgs_records
from regrad.claims.load import load
from regrad.pipeline.decided import so_far
from regrad.pipeline.folders import Folders
from regrad.results import Part, Spec
from regrad.runner.ensure import reached, whole_groups
from regrad.studies.dgs.study import STUDY as DGS
from regrad.studies.engine.study import STUDY as ENGINE
from regrad.studies.sign_placement.study import STUDY
from sign_records import study_records

FOLDERS = Folders(Path(__file__).parents[1], Path("unused"))


def whole(records, missing):
    here = {r.spec.key(): r for r in records if not missing(r.spec)}
    return whole_groups(lambda preset, known: [r.spec for r in records], "small", lambda spec: here.get(spec.key()))


def said(seeds, missing):
    return so_far(FOLDERS, STUDY, whole(study_records(seeds=seeds), missing), preset="small")


def test_claims_are_judged_as_soon_as_their_arms_are_whole_and_not_before():
    assert said(8, lambda spec: False) == "2 reproduced, 1 inconclusive"
    # One tuning run of the arm that every claim reads is enough to wait for it.
    late = [r.spec for r in study_records(seeds=8) if r.spec.tags["arm"] == "ema" and r.spec.tags["phase"] == "tune"]
    assert said(8, lambda spec: spec == late[0]) == "3 not tested"
    assert said(8, lambda spec: True) == ""


def test_groups_with_a_missing_run_are_left_out_whole_and_other_ranks_stay():
    records = study_records(seeds=2)
    lost = next(r.spec for r in records if r.spec.tags["rank"] == "1")
    assert {r.spec.tags["rank"] for r in whole(records, lambda spec: spec == lost)} == {"0"}
    # The first seed of an arm of rank 0: also the other arms of its rank are left out.
    headline = next(r.spec for r in records if r.spec.tags["rank"] == "0")
    assert {r.spec.tags["rank"] for r in whole(records, lambda spec: spec == headline)} == {"1"}


def test_a_missing_run_that_two_arms_share_leaves_out_both_and_has_the_rank_of_the_first():
    shared = {"problem": Part(name="p"), "optimizer": Part(name="sgd"), "steps": 1, "batch_size": 1, "seed": 0}
    specs = [Spec(**shared, tags={"arm": arm, "rank": rank}) for arm, rank in (("headline", "0"), ("stability", "1"))]
    records, missing = reached(lambda preset, known: specs, "small", lambda spec: None)
    assert (records, [spec.tags["rank"] for spec in missing]) == ([], ["0"])


def test_a_study_without_runs_has_nothing_to_say():
    assert so_far(FOLDERS, ENGINE, [], preset="small") == ""


@pytest.mark.parametrize("preset", ["smoke", "medium"])
def test_every_preset_can_be_asked(preset):
    assert so_far(FOLDERS, STUDY, study_records(seeds=3), preset=preset) == "3 not tested"


def test_what_no_run_decides_is_not_counted_among_what_runs_say():
    claims = [claim for claim in load(FOLDERS.paper / "claims.toml") if claim.study == DGS.name]
    by_runs = sum(claim.test[0].kind not in ("construction", "ratio") for claim in claims)
    assert 0 < by_runs < len(claims)
    assert (
        so_far(FOLDERS, DGS, list(dgs_records.complete(dgs_records.SIZES)), preset="smoke") == f"{by_runs} not tested"
    )
