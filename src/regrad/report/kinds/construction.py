"""Refuted by construction: a test of this repository proves the sentence false for the printed algorithm."""

from regrad.report.claim_schema import Construction
from regrad.report.kinds.outcome import NOT_TESTED, REFUTED, Outcome
from regrad.report.kinds.rows import Rows


def construction(test: Construction, rows: Rows) -> Outcome:
    """Look up the named proof among rows {proof, passed}; one that failed or did not run proves nothing."""
    ran = [bool(row["passed"]) for row in rows if row.get("proof") == test.proof]
    if not ran:
        return Outcome(NOT_TESTED, f"the proof {test.proof} did not run", comparison=test.proof)
    if not all(ran):
        return Outcome(NOT_TESTED, f"the proof {test.proof} failed", comparison=test.proof)
    return Outcome(REFUTED, f"proved by {test.proof}", comparison=test.proof)
