"""The formal audit as a table beside the ledger's."""

from collections.abc import Sequence

from regrad.claims.audit import Audit
from regrad.report.latex import breakable, escape_tex, longtable, text_column


def audit_table(audits: Sequence[Audit]) -> str:
    """Return a ``longtable``: name, quotation with its place, what was proved and by which test, why it is no claim."""
    head = ["", "The document says", "Proved of what it prints", "Note"]
    columns = "l" + text_column(0.27) + text_column(0.36) + text_column(0.22)
    return longtable(columns, head, [_cells(audit) for audit in audits])


def _cells(audit: Audit) -> list[str]:
    said = f"{audit.quotation} ({audit.place})"
    proved = f"{audit.proved} ({audit.proof.rpartition('::')[2]})"
    return [escape_tex(audit.id), *(breakable(escape_tex(text)) for text in (said, proved, audit.note))]
