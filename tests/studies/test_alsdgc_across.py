"""ALSDGC over all tasks: every task weighs the same, a miss is never fast."""

import math

import pytest

import alsdgc_records
from regrad.report.outcomes import Outcomes
from regrad.statistics.bootstrap import stratified_interval
from regrad.studies.alsdgc.across import PROFILED, numbers, task_differences, times
from regrad.studies.alsdgc.quantities import runs, tasks


@pytest.fixture(scope="module")
def records():
    return alsdgc_records.study_records()


def test_differences_are_paired_by_seed_within_a_task(records):
    found = task_differences(records, "V4", "none")
    assert set(found) <= set(tasks(Outcomes(records)))
    for task, differences in found.items():
        mine, other = (runs(Outcomes(records), task, arm).ends() for arm in ("V4", "none"))
        assert differences == [mine[s] - other[s] for s in sorted(set(mine) & set(other))]


def test_the_best_norm_is_each_task_s_own(records):
    """Norm 3 is best on every task of the constructed records; V4 ends 0.1 below it."""
    assert task_differences(records, "V4", "best-clip") == task_differences(records, "V4", "clip-3")


def test_the_printed_interval_weighs_tasks_alike(records):
    found = task_differences(records, "V4", "none")
    mean = sum(sum(d) / len(d) for d in found.values()) / len(found)
    assert stratified_interval(found).estimate == pytest.approx(mean)
    assert numbers(records)["alsdgc/across/V4-none"].startswith(f"{mean:.3f} [")


def test_every_arm_has_a_time_for_every_task_and_seed_and_a_miss_is_infinite(records):
    found = times(records)
    assert len({frozenset(row) for row in found.values()}) == 1
    assert all(time >= 1 for row in found.values() for time in row.values())
    assert any(math.isinf(time) for row in found.values() for time in row.values())
    assert all(numbers(records)[f"alsdgc/profile/{arm}"].endswith("\\%") for arm in PROFILED)


def test_one_seed_a_task_gives_words_instead_of_an_interval(records):
    first = [r for r in records if r.spec.tags["phase"] == "tune" or r.spec.seed == 0]
    assert numbers(first)["alsdgc/across/V4-none"].startswith("no number")
