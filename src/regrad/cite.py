"""``regrad cite``: BibTeX of the report, from ``CITATION.cff``, and of each paper, from ``paper/refs.bib``."""

import re
import sys

from regrad.exits import USAGE
from regrad.pipeline.folders import Folders
from regrad.results import suggestion
from regrad.studies.catalogue import PAPERS

REPORT = "report"


def entries(bibliography: str) -> dict[str, str]:
    parts = re.split(r"^(?=@)", bibliography, flags=re.M)
    return {match[1]: part.strip() for part in parts if (match := re.match(r"@\w+\{([^,\s]+),", part))}


def scalars(citation: str) -> dict[str, str]:
    """Return the top-level texts of a ``CITATION.cff``; lists and what is nested are left out."""
    pairs = re.findall(r"^([a-z-]+): +(\S.*)$", citation, re.M)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def report_entry(citation: str) -> str:
    """Return the BibTeX entry of the report (ValueError: title, version, date or first author is missing)."""
    texts = scalars(citation)
    author = re.search(r"^authors:\n +- (?:name|family-names): +(\S.*)$", citation, re.M)
    lacking = [key for key in ("title", "version", "date-released") if key not in texts]
    if lacking or author is None:
        raise ValueError(f"CITATION.cff: missing {', '.join([*lacking, *([] if author else ['authors'])])}")
    name = author[1].strip("\"'")
    fields = {
        "author": f"{{{name}}}",
        "title": f"{{{texts['title']}}}",
        "year": texts["date-released"][:4],
        "version": texts["version"],
        "note": f"Software and report, version {texts['version']}",
    }
    return "@misc{regrad,\n" + ",\n".join(f"  {key} = {{{value}}}" for key, value in fields.items()) + "\n}"


def cite(words: list[str], folders: Folders) -> int:
    """Run ``cite``: print the entries that were asked for, all without a name; return the exit code."""
    allowed = [REPORT, *PAPERS]
    if "-h" in words or "--help" in words:
        sys.stdout.write(f"usage: ./reproduce.sh cite [{' | '.join(allowed)}]\nPrint BibTeX entries; all by default.\n")
        return 0
    for word in words:
        if word not in allowed:
            sys.stderr.write(f"regrad: cite: unknown paper {word!r}{suggestion(word, allowed)}\n")
            return USAGE
    known = entries((folders.paper / "refs.bib").read_text(encoding="utf-8"))
    citation = (folders.root / "CITATION.cff").read_text(encoding="utf-8")
    texts = [report_entry(citation) if word == REPORT else known[PAPERS[word].reference] for word in words or allowed]
    sys.stdout.write("\n\n".join(texts) + "\n")
    return 0
