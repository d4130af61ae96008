"""The formal audit: what is proved of a printed algorithm without being a claim."""

from pydantic import Field

from regrad.claims.fields import IDENTIFIER, PROOF
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
