"""Published runs, repeated by today's code: the records are golden tests of everything that a run executes.

On the kind of processor that made them every number is the recorded one to the bit. Elsewhere sums are taken in another
order: there the beginning of a run agrees to a few digits, which still catches every change of an algorithm.
"""

import math
from pathlib import Path

import pytest

from regrad.archive import Archive
from regrad.blessing import read
from regrad.pipeline.folders import cache_folder
from regrad.published import SET
from regrad.runner.circumstances import processor
from regrad.runner.dependencies import fingerprint
from regrad.runner.repeat import Repeat, beginning, repeat

RUNS = Archive(Path(__file__).parents[1] / "results" / "reference" / SET / "runs")
SAMPLE = (
    ("language", "sign_sgd", "example_signs"),
    ("language", "micro_adam", "statistics"),
    ("sized_language", "sgg", "backward"),
    ("image_networks", "adam", "backward"),
    ("images", "dgs", "backward"),
    ("long_sequence", "sgd", "backward"),
    ("translation", "adam", "backward"),
    ("sentiment", "adam", "backward"),
)


@pytest.fixture(scope="module")
def cheapest():
    """The run of each kind whose beginning costs least."""
    runs = {}
    for record in RUNS:
        spec = record.spec
        kind = (spec.problem.name, spec.optimizer.name, spec.gradient.name if spec.gradient else "backward")
        seconds = RUNS.circumstances(record.run_id).seconds
        if kind in SAMPLE and (kind not in runs or (seconds, record.run_id) < runs[kind][0]):
            runs[kind] = ((seconds, record.run_id), record)
    return {kind: record for kind, (_, record) in runs.items()}


@pytest.mark.parametrize("kind", SAMPLE, ids=" ".join)
def test_a_published_run_begins_as_it_did(cheapest, kind):
    record = cheapest[kind]
    if RUNS.circumstances(record.run_id).machine == processor():
        assert repeat(Repeat(record, cache_folder(), whole=False)).difference == ""
        return
    points, last = beginning(record, cache_folder())
    for name, curve in record.curves.items():
        for step, value in zip(curve.x, curve.y, strict=True):
            assert step > last or math.isclose(points[name][step], value, rel_tol=0.02), (name, step)


def test_a_whole_published_run_is_its_record(cheapest):
    record = cheapest["sentiment", "adam", "backward"]
    if RUNS.circumstances(record.run_id).machine == processor():
        assert repeat(Repeat(record, cache_folder(), whole=True)).difference == ""


def test_every_published_run_is_one_that_today_s_code_makes_or_is_blessed_to_make():
    """Else the report calls them made by other code: after an edit, ``./reproduce.sh --bless medium-cpu``."""
    chain, now = read(RUNS.root.parent), {}
    for record in RUNS:
        code = now.setdefault(record.spec.key(), fingerprint(record.spec, record.fingerprint.device).code)
        assert chain.reaches(record.fingerprint.code, code), (record.run_id[:12], record.spec.optimizer.name)
