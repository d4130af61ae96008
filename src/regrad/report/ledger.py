"""The ledger's verdicts as LaTeX and Markdown tables, from the plain rows of ``results/claims.json`` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from regrad.claims.kinds.outcome import NOT_TESTED, REFUTED
from regrad.claims.plain import estimate_text
from regrad.report.latex import breakable, escape_tex, longtable, text_column
from regrad.report.reasons import reason, tex

Plain = dict[str, Any]


def to_latex(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""Return a ``longtable``: claim, estimate and intervals (95 % and Holm's), n, p, verdict, why.

    Args:
        rows: Rows of ``as_rows``, or the ``claims`` of ``results/claims.json``.
    """
    head = ["Claim", "Sentence", r"Estimate [95\,\%] [Holm]", "$n$", "$p$ (Holm)", "Verdict", "Why"]
    # Between sentence and estimate a wider space: readers, and programs that read PDFs, would run them together.
    columns = "l" + text_column(0.175) + r"@{\hspace{13pt}}" + text_column(0.162) + "rr"
    columns += text_column(0.1) + text_column(0.223)
    return longtable(columns, head, [_latex_cells(row) for row in rows])


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the README's table: claim, sentence, verdict, estimate with intervals, n, p after Holm."""
    head = ["claim", "says", "verdict", "estimate [95 % interval] [after Holm]", "n", "p (Holm)", "preset, device"]
    lines = [head, ["---"] * len(head)] + [_markdown_cells(row) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _latex_cells(row: Mapping[str, Any]) -> list[str]:
    verdict, why = escape_tex(row["verdict"] + _scale(row)), tex(reason(row)) + _proof(row)
    p = f"${_p(row['p_holm'])}$" if row["p_holm"] is not None else ""
    return [
        rf"\hypertarget{{claim:{row['id']}}}{{{escape_tex(row['id'])}}}",
        breakable(tex(row["sentence"])),
        _latex_estimate(row),
        _n(row),
        p,
        verdict,
        why,
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
    where, verdict = f"{row['preset']}, {row['device']}", f"**{row['verdict']}**{_scale(row)}"
    texts = [row["id"], row["sentence"], verdict, estimate_text(row), _n(row), _p(row["p_holm"]), where]
    return [text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for text in texts]


def _n(row: Mapping[str, Any]) -> str:
    return "" if row["estimate"] is None else str(row["n"])


def _scale(row: Mapping[str, Any]) -> str:
    return f" ({row['label']})" if row["label"] and row["verdict"] != NOT_TESTED else ""


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
