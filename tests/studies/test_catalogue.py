"""The catalogue: what every study can be asked without knowing which one it is."""

import subprocess
import sys

import pytest

from regrad.studies.catalogue import STUDIES

HEAVY = {"torch", "numpy", "scipy", "statsmodels", "pandas", "matplotlib"}


def test_every_study_can_be_planned_without_any_library_of_numbers_or_figures():
    """So that ``--list`` and an unchanged reproduction answer at once."""
    code = (
        "import sys\nfrom regrad.studies.catalogue import STUDIES\n"
        "for study in STUDIES: study.plan\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_is_planned_if_and_only_if_it_trains(study):
    assert (study.plan is not None) == study.trains
