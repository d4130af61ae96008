"""The published paired comparisons, recomputed by a script that uses nothing of this package, agree to the digit."""

import ast
import json
import runpy
from pathlib import Path

import pytest

from regrad.published import SET

SCRIPT = Path(__file__).parent / "independent" / "recompute.py"
PUBLISHED = Path(__file__).parents[1] / "results" / "reference" / SET
SOURCE = runpy.run_path(str(SCRIPT))
FOUND = list(SOURCE["comparisons"](PUBLISHED))


def test_the_script_uses_nothing_of_the_package():
    names = [n for node in ast.walk(ast.parse(SCRIPT.read_text())) for n in getattr(node, "names", [])]
    assert not [name.name for name in names if "regrad" in name.name]
    assert "regrad" not in {getattr(node, "module", "") for node in ast.walk(ast.parse(SCRIPT.read_text()))}


def test_every_paired_verdict_on_final_numbers_is_recomputed():
    claims = json.loads((PUBLISHED / "claims.json").read_text(encoding="utf-8"))["claims"]
    direct = [c for c in claims if c["arms"] and c["metric"].partition("/")[0] in SOURCE["DIRECT"]]
    assert {found[0]["id"] for found in FOUND} == {c["id"] for c in direct if c["test"]["kind"] == "paired"}
    assert len(FOUND) >= 5


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found[0]["id"])
def test_estimate_interval_and_p_are_the_published_ones(found):
    verdict, (figures, p_values) = found
    published = [verdict["estimate"], *(verdict["interval"] or [None, None])]
    assert list(figures) == pytest.approx(published, rel=1e-9)
    assert SOURCE["printed"](verdict, p_values) == pytest.approx(verdict["p"], rel=1e-9)
