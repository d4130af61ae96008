"""``regrad cite``: BibTeX of the report and of each paper, from the file that lies in the package.

``python -m regrad.cite`` in a checkout writes that file anew, from ``CITATION.cff`` and ``paper/refs.bib``, and before
it the four papers' part of both from `regrad.studies.papers`.
"""

import difflib
import re
import sys
from pathlib import Path

from regrad.exits import USAGE

REPORT = "report"
FILE = Path(__file__).with_name("citations.bib")


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


def compose(root: Path) -> str:
    """Return the text of the package's file, from a checkout's sources: a heading ``% name``, then its entry."""
    from regrad.studies.catalogue import PAPERS

    known = entries((root / "paper" / "refs.bib").read_text(encoding="utf-8"))
    own = {REPORT: report_entry((root / "CITATION.cff").read_text(encoding="utf-8"))}
    papers = {key: known[paper.reference] for key, paper in PAPERS.items() if paper.reference}
    return "\n\n".join(f"% {key}\n{entry}" for key, entry in (own | papers).items()) + "\n"


def packaged() -> dict[str, str]:
    """Return the entries of the package's file, by the names of the command line."""
    parts = re.split(r"^% (\S+)\n", FILE.read_text(encoding="utf-8"), flags=re.M)
    return {key: text.strip() for key, text in zip(parts[1::2], parts[2::2], strict=True)}


def cite(words: list[str]) -> int:
    """Run ``cite``: print the entries that were asked for, all without a name; return the exit code."""
    known = packaged()
    if "-h" in words or "--help" in words:
        sys.stdout.write(f"usage: regrad cite [{' | '.join(known)}]\nPrint BibTeX entries; all by default.\n")
        return 0
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
            sys.stderr.write(f"regrad: cite: unknown paper {word!r}; {hint}\n")
            return USAGE
    sys.stdout.write("\n\n".join(known[word] for word in words or known) + "\n")
    return 0


if __name__ == "__main__":
    from regrad.atomic import write_atomically
    from regrad.bibliography import in_bibliography, in_citation
    from regrad.studies.catalogue import PAPERS

    root = Path(__file__).parents[2]
    for path, renew in ((root / "paper" / "refs.bib", in_bibliography), (root / "CITATION.cff", in_citation)):
        write_atomically(path, renew(path.read_text(encoding="utf-8"), PAPERS.values()).encode())
    write_atomically(FILE, compose(root).encode())
