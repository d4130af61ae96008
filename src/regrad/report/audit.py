"""The formal audit: what is proved of a printed algorithm without being a claim, as a table beside the ledger."""

from collections.abc import Sequence

from pydantic import Field

from regrad.claims.fields import IDENTIFIER, PROOF
from regrad.report.latex import breakable, escape_tex, longtable, text_column
from regrad.results import Frozen


class Audit(Frozen):
    """A formal statement about a printed algorithm that is shown beside the claims and not counted among them."""

    id: str = Field(pattern=IDENTIFIER)
    paper: str
    study: str  # whose notebook runs the proof
    quotation: str
    place: str
    proved: str  # of the printed algorithm
    proof: str = Field(pattern=PROOF)
    note: str = ""  # why it is no claim


def audit_table(audits: Sequence[Audit]) -> str:
    """Return a ``longtable``: name, quotation with its place, what was proved and by which test, why it is no claim."""
    head = ["", "The document says", "Proved of what it prints", "Note"]
    columns = "l" + text_column(0.27) + text_column(0.36) + text_column(0.22)
    return longtable(columns, head, [_cells(audit) for audit in audits])


def _cells(audit: Audit) -> list[str]:
    said = f"{audit.quotation} ({audit.place})"
    proved = f"{audit.proved} ({audit.proof.rpartition('::')[2]})"
    return [escape_tex(audit.id), *(breakable(escape_tex(text)) for text in (said, proved, audit.note))]
