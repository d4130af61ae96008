"""Citing: one place for BibTeX, and a citation file that tools accept."""

import datetime
import re
from pathlib import Path

import pytest
import yaml

from regrad import __version__
from regrad.bibliography import bibtex, in_bibliography, in_citation
from regrad.cite import FILE, REPORT, compose, report_entry, scalars
from regrad.claims.load import load
from regrad.console import main
from regrad.studies.catalogue import PAPERS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
CITATION = yaml.safe_load(TEXT)
# The Citation File Format 1.2.0: required keys, those of its optional ones that we use, and types of references.
REQUIRED = {"cff-version", "message", "title", "authors"}
OPTIONAL = {"type", "version", "date-released", "license", "keywords", "references", "url", "repository-code", "doi"}
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "affiliation", "orcid", "email", "website"}
ENTITY = {"name", "website", "email", "address", "city", "country"}
KINDS = {"article", "conference-paper", "report", "software", "unpublished", "manual", "data", "misc"}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_citation_file_has_the_fields_of_its_format():
    assert set(CITATION) >= REQUIRED
    assert set(CITATION) <= REQUIRED | OPTIONAL
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert isinstance(CITATION["version"], str)
    datetime.date.fromisoformat(str(CITATION["date-released"]))
    assert all(isinstance(word, str) for word in CITATION["keywords"])


@pytest.mark.parametrize("work", [CITATION, *CITATION["references"]], ids=lambda work: work["title"][:20])
def test_every_work_has_authors_that_are_persons_or_entities(work):
    assert work["authors"]
    for author in work["authors"]:
        assert set(author) <= PERSON or ("name" in author and set(author) <= ENTITY)


@pytest.mark.parametrize("work", CITATION["references"], ids=lambda work: work["title"][:20])
def test_every_reference_has_type_title_and_a_year_if_it_has_one_at_all(work):
    assert {"type", "title", "authors"} <= set(work)
    assert work["type"] in KINDS
    assert isinstance(work.get("year", 2000), int)
    assert set(work) <= {"type", "title", "authors", "year", "url", "journal", "notes", "doi"}


def test_the_version_is_the_packages():
    assert CITATION["version"] == __version__


def test_the_package_carries_what_the_two_files_say():
    """A plain install has neither file; `python -m regrad.cite` writes the package's copy anew."""
    assert FILE.read_text() == compose(ROOT)


def test_each_paper_of_the_ledger_can_be_cited_and_stands_in_both_files():
    assert set(PAPERS) == {claim.paper for claim in load(ROOT / "paper" / "claims.toml")}
    assert {p.title.lower() for p in PAPERS.values()} == {work["title"].lower() for work in CITATION["references"]}


def test_bibliography_and_citation_file_say_what_the_table_of_papers_says():
    """`python -m regrad.cite` writes both."""
    bibliography = (ROOT / "paper" / "refs.bib").read_text(encoding="utf-8")
    assert in_bibliography(bibliography, PAPERS.values()) == bibliography
    assert in_citation(TEXT, PAPERS.values()) == TEXT
    assert "Logan Mann" not in bibliography  # family name first
    assert "Mann, Logan" in bibliography


def test_all_authors_of_a_paper_are_named_and_a_sentence_abbreviates_them():
    assert len(PAPERS["sgg"].people) == 7
    assert PAPERS["sgg"].authors == "Li et al."
    assert PAPERS["per-example"].authors == "Roulet and Agarwala"
    assert PAPERS["alsdgc"].authors == "unnamed authors"
    assert bibtex(PAPERS["sgg"]).count(" and ") == 6


def test_dgs_is_dynamic_gradient_scaling_wherever_a_reader_meets_it():
    assert "dynamic gradient scaling" in PAPERS["dgs"].heading
    pages = [ROOT / "README.md", *(ROOT / "paper").glob("**/*.t*x"), *(ROOT / "notebooks").glob("*.ipynb")]
    pages += (ROOT / "src").rglob("*.py")
    assert [path for path in pages if re.search(r"discrete.gradient", path.read_text(encoding="utf-8"), re.I)] == []


def test_cite_prints_the_report_and_each_paper(capsys):
    assert main(["cite"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^@\w+\{([^,]+),", out, re.M) == ["regrad", *(paper.reference for paper in PAPERS.values())]
    assert out.count("{") == out.count("}")
    assert main(["cite", "sgg"]) == 0
    assert capsys.readouterr().out.startswith("@inproceedings{li2025sgg,\n")
    assert main(["cite", REPORT]) == 0
    assert f"year = {{{str(CITATION['date-released'])[:4]}}}" in capsys.readouterr().out


def test_an_unknown_paper_is_one_line_with_a_suggestion(capsys):
    assert main(["cite", "sg"]) == 2
    assert capsys.readouterr().err == "regrad: cite: unknown paper 'sg'; did you mean 'sgg'?\n"
    assert main(["cite", "--help"]) == 0
    assert "usage" in capsys.readouterr().out


def test_a_citation_file_without_its_title_is_refused_in_one_line():
    assert scalars(TEXT)["title"] == CITATION["title"]
    with pytest.raises(ValueError, match=r"CITATION\.cff: missing title"):
        report_entry(TEXT.replace("title: ", "titel: ", 1))
