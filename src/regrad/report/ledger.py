"""The ledger's verdicts as LaTeX and Markdown tables, from the plain rows of ``results/claims.json`` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from regrad.claims.kinds.outcome import NOT_TESTED, REFUTED
from regrad.claims.plain import estimate_text
from regrad.report.findings import MACROS
from regrad.report.latex import breakable, escape_tex, longtable, text_column
from regrad.report.reasons import capital, reason, tex
from regrad.statistics.sequential import DESIGN

Plain = dict[str, Any]
ORDINALS = ("first", "second", "third")


def to_latex(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""Return a ``longtable``: claim, verdict, estimate, 95 % and corrected interval, n, p; below, sentence and why.

    Args:
        rows: Rows of ``as_rows``, or the ``claims`` of ``results/claims.json``.
    """
    head = ["Claim", "Verdict", r"Estimate [95\,\%] [corrected]", "$n$", "$p$"]
    columns = "l" + text_column(0.22) + text_column(0.46) + "rr"
    return longtable(columns, head, [_latex_cells(row) for row in rows])


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the README's table: claim, sentence, verdict, estimate with intervals, n, corrected p."""
    head = ["claim", "says", "verdict", "estimate [95 % interval] [corrected]", "n", "p", "preset, device"]
    lines = [head, ["---"] * len(head)] + [_markdown_cells(row) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _latex_cells(row: Mapping[str, Any]) -> list[str]:
    p = f"${_p(row['p_holm'])}$" if row["p_holm"] is not None else ""
    scale = f" {capital(_scale(row))}." if _scale(row) else ""
    said = rf"\emph{{{breakable(tex(row['sentence']))}}} {tex(reason(row))}{escape_tex(scale)}{_proof(row)}"
    return [
        rf"\hypertarget{{claim:{row['id']}}}{{{escape_tex(row['id'])}}}",
        rf"\textcolor{{{MACROS[row['verdict']]}}}{{{row['verdict']}}}",
        _latex_estimate(row),
        _n(row),
        # The star keeps a page from ending between the two lines of a claim.
        rf"{p} \\* & \multicolumn{{4}}{{{text_column(0.82)}@{{}}}}{{{said}}}",
    ]


def _proof(row: Mapping[str, Any]) -> str:
    """Return where the proof of a reading lies: a test of the repository, named here and linked elsewhere."""
    if row["verdict"] != REFUTED:
        return ""
    path = breakable(escape_tex(row["test"]["proof"])).replace("/", r"/\allowbreak{}")
    return rf" Proof: \texttt{{{path}}}"


def _latex_estimate(row: Mapping[str, Any]) -> str:
    # Two formulas, so that the line may break between estimate and interval in a narrow column.
    figures = estimate_text(row).removesuffix(row["unit"]).strip()
    return f"${figures.replace(' [', '$ $[')}$ {escape_tex(row['unit'])}" if figures != "-" else "--"


def _markdown_cells(row: Mapping[str, Any]) -> list[str]:
    where, verdict = f"{row['preset']}, {row['device']}", f"**{row['verdict']}**"
    verdict += f" ({_scale(row)})" if _scale(row) else ""
    texts = [row["id"], row["sentence"], verdict, estimate_text(row), _n(row), _p(row["p_holm"]), where]
    return [text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for text in texts]


def _n(row: Mapping[str, Any]) -> str:
    return "" if row["estimate"] is None else str(row["n"])


def _scale(row: Mapping[str, Any]) -> str:
    """Return at what size a claim was judged, and at which look where its runs were looked at more than once."""
    if row["verdict"] == NOT_TESTED or not row["label"]:
        return ""
    return f"{row['label']}; {ORDINALS[DESIGN.ns.index(row['look'])]} look" if row["look"] else row["label"]


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
