"""The README's generated parts are those of the published records; it is short, its links lead somewhere, it runs."""

import re
from pathlib import Path

import pytest

from regrad.archive import Archive
from regrad.pipeline.folders import Folders
from regrad.pipeline.reference import filled, generated_parts
from regrad.published import SET
from regrad.results import run_id

ROOT = Path(__file__).parents[1]
FOLDERS = Folders(ROOT, ROOT)


@pytest.mark.parametrize("file", ["README.md", "docs/results.md", "docs/data.md", "docs/running.md"])
def test_readme_and_docs_show_what_the_published_records_give(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert filled(text, generated_parts(FOLDERS)[file]) == text


def test_the_readme_is_short_and_begins_with_a_sentence_the_board_and_four_rows():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert len(text.encode()) <= 9000
    table = text.split("<!-- papers:begin -->")[1].split("<!-- papers:end -->")[0]
    assert table.count("| **") == 4
    first = [text.index(mark) for mark in ("<picture>", "<!-- papers:begin -->", "## Rebuild it", "## Use it")]
    assert first == sorted(first)


def test_every_link_of_readme_and_docs_leads_to_a_file():
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"", text)
        for link in filter(None, (a or b for a, b in found)):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_readme_s_script_runs_as_it_stands():
    script = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(script) == 1
    exec(compile(script[0], "README.md", "exec"), {})


def test_every_published_record_is_intact_and_has_its_own_name():
    records = list(Archive(ROOT / "results" / "reference" / SET / "runs"))
    assert f"`: {len(records)} runs, " in (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(record.run_id == run_id(record.spec, record.fingerprint) for record in records)


def test_a_missing_marker_is_an_error_and_parts_are_texts_not_templates():
    assert filled("a <!-- x:begin -->\nold\n<!-- x:end --> b", {"x": r"\1 new"}) == (
        "a <!-- x:begin -->\n\\1 new\n<!-- x:end --> b"
    )
    with pytest.raises(ValueError, match="x:begin"):
        filled("nothing", {"x": "new"})
