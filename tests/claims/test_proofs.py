"""Proofs that the ledger names: which there are, and what running them says."""

from pathlib import Path

import pytest

from regrad.claims.proofs import proof_rows, proofs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("study", "count"), [("dgs", 11), ("alsdgc", 6)])
def test_every_proof_that_the_ledger_names_exists_and_passes(study, count):
    rows = proof_rows(proofs(ROOT / "paper" / "claims.toml", study), ROOT)
    assert len(rows) == count
    assert all(row["passed"] for row in rows)


def test_a_proof_that_is_missing_or_fails_proves_nothing(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("def test_no():\n    assert False\n\ndef test_yes():\n    pass\n")
    names = [f"tests/test_x.py::test_{name}" for name in ("no", "absent", "yes")]
    rows = proof_rows([*names, "tests/test_y.py::test_no"], tmp_path)
    assert rows == [{"proof": name, "passed": name.endswith("yes")} for name in names]
