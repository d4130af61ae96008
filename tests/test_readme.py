"""The README's generated parts are those of the published records."""

from pathlib import Path

import pytest

from regrad.archive import Archive
from regrad.pipeline.folders import Folders
from regrad.pipeline.reference import filled, readme_parts
from regrad.results import run_id

ROOT = Path(__file__).parents[1]
FOLDERS = Folders(ROOT, ROOT)


def test_the_readme_shows_the_published_verdicts_and_the_table_of_data():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert filled(text, readme_parts(FOLDERS)) == text


def test_every_published_record_is_intact_and_has_its_own_name():
    records = list(Archive(ROOT / "results" / "reference" / "small-cpu" / "runs"))
    assert len(records) == 2753  # all studies; records keep no tags, so which run is whose only the plans know
    assert all(record.run_id == run_id(record.spec, record.fingerprint) for record in records)


def test_a_missing_marker_is_an_error_and_parts_are_texts_not_templates():
    assert filled("a <!-- x:begin -->\nold\n<!-- x:end --> b", {"x": r"\1 new"}) == (
        "a <!-- x:begin -->\n\\1 new\n<!-- x:end --> b"
    )
    with pytest.raises(ValueError, match="x:begin"):
        filled("nothing", {"x": "new"})
