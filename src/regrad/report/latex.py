"""Text as LaTeX prints it, executing nothing of it; and tables that run over pages."""

import re
from collections.abc import Sequence

TEX_SPECIAL = {
    **{character: "\\" + character for character in "{}$&#%_"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}"},
    **{"`": r"\textasciigrave{}", "-": "{-}", "\n": " ", "\t": " "},
}


def escape_tex(text: str) -> str:
    """Return ``text`` such that LaTeX prints it and executes nothing of it."""
    # Two commas in a row would be set as one low quotation mark.
    return re.sub(",(?=,)", ",{}", "".join(TEX_SPECIAL.get(c, c) for c in text))


def printed(tex: str) -> str:
    """Return LaTeX with a true minus before each negative number, and with intervals that no line breaks."""
    # A hyphen that was escaped stands in braces of its own; powers of ten first, whose digit stands before it.
    powers = re.sub(r"(?<=\d)e(?:\{-\}|-)0*(?=\d)", r"e\\ensuremath{-}", tex)
    signed = re.sub(r"(?<![\w{$\\.})\]-])(?:\{-\}|-)(?=\d)", r"\\ensuremath{-}", powers)
    number = r"(?:\\ensuremath\{-\})?[\d.]+(?:e(?:\\ensuremath\{-\})?\d+)?"
    return re.sub(rf"\[{number}, {number}\]", lambda m: rf"\mbox{{{m[0]}}}", signed)


def breakable(tex: str) -> str:
    """Return escaped text in which LaTeX may break a line inside the name of a test or a path."""
    return re.sub(r"(\\_|::)", r"\1\\allowbreak{}", tex)


def text_column(share: float) -> str:
    """Return a ragged-right column of this share of the line (package ``array``)."""
    return rf">{{\raggedright\arraybackslash}}p{{{share}\linewidth}}"


def longtable(columns: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    r"""Return a ``longtable`` with booktabs rules that repeats its head; cells are LaTeX.

    A table without lines says so, as at preset smoke.
    """
    body = [" & ".join(line) + r" \\ \addlinespace[3pt]" for line in lines]
    body = body or [rf"\multicolumn{{{len(head)}}}{{@{{}}l@{{}}}}{{nothing at this preset}} \\"]
    opening = [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    return "\n".join([*opening, r"\endhead", *body, r"\bottomrule", r"\end{longtable}"]) + "\n"
