"""The overview: what data there is, and what each paper claims."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from regrad.claims.schema import Claim
from regrad.studies.catalogue import PAPERS


def data_table(sources: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": source.name,
            "what": source.what,
            "version": source.version[:16],
            "licence": source.licence,
            "checksum": source.digest.split(":")[-1][:12] or "-",
        }
        for source in sources
    )


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": claim.id,
            "paper": PAPERS[claim.paper].name,
            "sentence": claim.sentence,
            "study": claim.study,
            "decided at": ", ".join(claim.presets),
        }
        for claim in claims
    )
