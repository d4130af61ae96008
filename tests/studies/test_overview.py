"""The overview's tables: every data set and every claim has a line that says what a reader needs."""

from pathlib import Path
from types import SimpleNamespace

from regrad.claims.load import load
from regrad.problems.data.sources import SOURCES
from regrad.studies.overview.tables import claims_table, data_table

LEDGER = Path(__file__).parents[2] / "paper" / "claims.toml"


def source(digest):
    return SimpleNamespace(name="news", what="text", version="2024.01.02+0123456789", licence="MIT", digest=digest)


def test_a_data_set_s_line_by_hand():
    (line,) = data_table([source("sha256:0123456789abcdef")]).to_dict("records")
    assert line == {
        "name": "news",
        "what": "text",
        "version": "2024.01.02+01234",
        "licence": "MIT",
        "checksum": "0123456789ab",
    }
    assert data_table([source("")]).loc[0, "checksum"] == "-"


def test_every_data_set_has_a_line_with_a_licence():
    table = data_table(SOURCES)
    assert list(table["name"]) == [source.name for source in SOURCES]
    assert all(table["licence"])


def test_every_claim_has_a_line_with_its_paper_and_the_presets_that_can_decide_it():
    claims = load(LEDGER)
    table = claims_table(claims).set_index("id")
    assert list(table.index) == [claim.id for claim in claims]
    assert table.loc["C3", ["paper", "study", "decided at"]].tolist() == [
        "Per-example gradients",
        "sign_placement",
        "small, medium, full, paper",
    ]
