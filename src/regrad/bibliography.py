"""The four papers' entries in BibTeX and in the Citation File Format, both from `regrad.studies.papers`."""

import re
from collections.abc import Iterable

from regrad.studies.papers import Paper

PLACES = {"article": "journal", "inproceedings": "booktitle"}  # which field says where it appeared
KINDS = {"article": "article", "inproceedings": "conference-paper", "unpublished": "unpublished", "misc": "article"}


def bibtex(paper: Paper) -> str:
    """Return a paper's BibTeX entry."""
    people = " and ".join(f"{family}, {given}" for given, family in paper.people)
    place = PLACES.get(paper.kind)
    notes = [paper.note] if place else [paper.venue, paper.note]
    fields = {
        "author": people or f"{{{paper.name} manuscript}}",
        "title": re.sub(r"\b([A-Z]{2,})", r"{\1}", paper.title),
        **({place: paper.venue} if place else {}),
        "year": str(paper.year) if paper.year else "n.d.",
        **({"doi": paper.doi} if paper.doi else {}),
        "note": "; ".join(filter(None, notes)),
    }
    lines = ",\n".join(f"  {key} = {{{value}}}" for key, value in fields.items())
    return f"@{paper.kind}{{{paper.reference},\n{lines}\n}}"


def reference(paper: Paper) -> str:
    """Return a paper's item under ``references`` of ``CITATION.cff``."""
    people = [f"{{family-names: {family}, given-names: {given}}}" for given, family in paper.people]
    lines = {
        "title": f'"{paper.title}"',
        "authors": f"[{', '.join(people) or f'{{name: {paper.name} manuscript}}'}]",
        **({"journal": paper.venue} if paper.kind == "article" else {}),
        **({"year": str(paper.year)} if paper.year else {}),
        **({"doi": paper.doi} if paper.doi else {}),
        **({"url": f'"{paper.url}"'} if paper.url else {}),
        **({"notes": f'"{paper.note}."'} if paper.note else {}),
    }
    return f"  - type: {KINDS[paper.kind]}\n" + "".join(f"    {key}: {value}\n" for key, value in lines.items())


def in_bibliography(text: str, papers: Iterable[Paper]) -> str:
    """Return ``paper/refs.bib`` with the papers' entries anew, each in its place."""
    for paper in papers:
        entry = re.compile(rf"^@\w+\{{{re.escape(paper.reference)},\n.*?^\}}", re.M | re.S)
        before, after = entry.split(text, maxsplit=1)
        text = before + bibtex(paper) + after
    return text


def in_citation(text: str, papers: Iterable[Paper]) -> str:
    """Return ``CITATION.cff`` with its references anew."""
    return text.partition("references:\n")[0] + "references:\n" + "".join(map(reference, papers))
