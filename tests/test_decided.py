"""What a listing says of claims while runs are missing: only arms of which none is missing count."""

from pathlib import Path

import pytest

from regrad.pipeline.decided import so_far, whole_arms
from regrad.pipeline.folders import Folders
from regrad.studies.engine.study import STUDY as ENGINE
from regrad.studies.sign_placement.study import STUDY
from sign_records import study_records

FOLDERS = Folders(Path(__file__).parents[1], Path("unused"))


def said(seeds, missing):
    records = study_records(seeds=seeds)
    gone = [r for r in records if missing(r.spec)]
    here = [r for r in records if not missing(r.spec)]
    return so_far(FOLDERS, STUDY, here, [r.spec for r in gone], preset="small")


def test_claims_are_judged_as_soon_as_their_arms_are_whole_and_not_before():
    whole = said(8, lambda spec: False)
    assert whole == "2 reproduced, 1 inconclusive"
    # One tuning run of the arm that every claim reads is enough to wait for it.
    late = [r.spec for r in study_records(seeds=8) if r.spec.tags["arm"] == "ema" and r.spec.tags["phase"] == "tune"]
    assert said(8, lambda spec: spec == late[0]) == "3 not tested"
    assert said(8, lambda spec: True) == ""


def test_arms_with_a_missing_run_are_left_out_whole():
    records = study_records(seeds=2)
    left = whole_arms(records, [records[0].spec])
    assert {r.spec.tags["arm"] for r in records} - {r.spec.tags["arm"] for r in left} == {records[0].spec.tags["arm"]}


def test_a_study_without_runs_has_nothing_to_say():
    assert so_far(FOLDERS, ENGINE, [], [], preset="small") == ""


@pytest.mark.parametrize("preset", ["smoke", "medium"])
def test_every_preset_can_be_asked(preset):
    assert so_far(FOLDERS, STUDY, study_records(seeds=3), [], preset=preset) == "3 not tested"
