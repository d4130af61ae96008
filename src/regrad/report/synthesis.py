"""The ledger as a whole: how many verdicts of which kind, what a null could have seen, where we deviate.

Pure functions of the plain rows of ``results/claims.json``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from regrad.claims.kinds.outcome import INCONCLUSIVE, NOT_TESTED, VERDICTS, number
from regrad.report.latex import breakable, escape_tex, longtable, text_column
from regrad.report.words import comparison
from regrad.statistics.sequential import DESIGN

Plain = Mapping[str, Any]
SMOKE = "Preset smoke shows that everything runs; what it measures decides nothing."


def summary(rows: Sequence[Plain]) -> str:
    """Return the verdicts counted, in words: ``"2 reproduced, 1 not tested"``; kinds that are absent left out."""
    counts = Counter(row["verdict"] for row in rows)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


def nulls(rows: Sequence[Plain]) -> list[Plain]:
    """Return the inconclusive rows that rest on a comparison with a margin; ties and reversals are no nulls."""
    return [row for row in rows if row["verdict"] == INCONCLUSIVE and row["detectable"] and row["margin"]]


def power_sentence(rows: Sequence[Plain]) -> str:
    """Return what the comparisons without the claimed effect could have seen, as a sentence."""
    # Against each claim's own margin: units differ from claim to claim, and only ratios can be summed up.
    ratios = [row["detectable"] / row["margin"] for row in nulls(rows)]
    if not ratios:
        return "At this preset no comparison was left open, so there is no power to state."
    blind = sum(ratio > 1 for ratio in ratios)
    return (
        f"Of {len(ratios)} open claims with a margin, {blind} had it below what their seeds could have seen in four "
        f"cases of five; at the median this was {median(ratios):.1f} times the margin."
    )


def numbers(rows: Sequence[Plain], papers: Iterable[str]) -> dict[str, str]:
    """Return what the prose cites of the ledger as a whole and of each of these papers, by key."""
    whole = {
        "ledger/claims": str(len(rows)),
        "ledger/summary": summary(rows),
        "ledger/power": power_sentence(rows),
        "ledger/levels": "$p < " + "$, then $".join(f"{alpha:g}" for alpha in DESIGN.alphas) + "$",
        "ledger/decided": str(sum(row["verdict"] != NOT_TESTED for row in rows)),
        "ledger/note": SMOKE if any(row["preset"] == "smoke" for row in rows) else "{}",  # nothing, in LaTeX
    }
    by_paper = {paper: summary([row for row in rows if row["paper"] == paper]) for paper in papers}
    return whole | {f"ledger/{paper}": words or "no claim" for paper, words in by_paper.items()}


def power_table(rows: Sequence[Plain]) -> str:
    """Return a ``longtable`` of the comparisons left open: margin, what could have been seen, seeds."""
    told = [(row["id"], comparison(row["comparison"]), row["unit"], row) for row in nulls(rows)]
    lines = [[*map(escape_tex, texts), *_seen(row)] for *texts, row in told]
    head = ["Claim", "Comparison", "Unit", "$n$", "Margin", r"Seen at 80\,\%", "$n$ needed"]
    return longtable("l" + text_column(0.4) + "lrrrr", head, lines)


def _seen(row: Plain) -> list[str]:
    needed = f"{row['needed_n']:,}" if row["needed_n"] else "--"
    return [str(row["n"]), number(row["margin"]), number(row["detectable"]), needed]


def deviation_table(rows: Sequence[Plain]) -> str:
    """Return a ``longtable``: what would falsify a claim, and where its test departs from the paper."""
    lines = [
        [
            escape_tex(row["id"]),
            escape_tex(row["short"]),
            row["source"],
            *(breakable(escape_tex(row[key])) for key in ("falsified", "note")),
        ]
        for row in rows
    ]
    columns = "l" + text_column(0.14) + "l" + text_column(0.25) + text_column(0.35)
    return longtable(columns, ["Claim", "Sentence", "Source", "Falsified if", "Our decisions and deviations"], lines)
