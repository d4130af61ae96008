"""Proofs that the ledger names: tests that refute a sentence for the printed algorithm, run where verdicts are made."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regrad.claims.load import load_ledger
from regrad.claims.schema import Construction


def proofs(ledger: Path, study: str) -> list[str]:
    """Return the tests that a study's claims and the formal audit name as proofs, ``tests/….py::test_…``, each once."""
    _, claims, audits = load_ledger(ledger)
    names = [t.proof for c in claims if c.study == study for t in c.test if isinstance(t, Construction)]
    return list(dict.fromkeys([*names, *(audit.proof for audit in audits if audit.study == study)]))


def proof_rows(names: Iterable[str], root: Path) -> list[dict[str, Any]]:
    """Run tests and return rows {proof, passed} for those whose file exists.

    Args:
        names: Tests without arguments, ``tests/….py::test_…``.
        root: The checkout that they lie in.
    """
    places = [(name, *name.split("::")) for name in names]
    tests = {path: functions(root / path) for path in {path for _, path, _ in places} if (root / path).is_file()}
    return [
        {"proof": name, "passed": passes(tests[path].get(function))} for name, path, function in places if path in tests
    ]


def functions(path: Path) -> dict[str, Any]:
    """Import a test file by its path, without a name that other code could import, and return what it defines."""
    spec = importlib.util.spec_from_file_location(f"proofs_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def passes(test: Any) -> bool:
    """Whether a test exists and raises nothing that it asserts, or that stops it."""
    if test is None:
        return False
    try:
        test()
    except (AssertionError, RuntimeError, ValueError, TypeError):
        return False
    return True
