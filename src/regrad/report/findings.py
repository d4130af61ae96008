"""The report's verdicts in words, all computed: the six sentences of its first page, and a list for each study."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from regrad.claims.kinds.outcome import INCONCLUSIVE, NOT_REPRODUCED, NOT_TESTED, REFUTED, REPRODUCED
from regrad.report.board_rows import bar, size, untested
from regrad.report.reasons import amount, figure, reason, tex
from regrad.report.synthesis import nulls
from regrad.statistics.sequential import DESIGN, FUTILE

Plain = Mapping[str, Any]
MOST = 3  # sentences that a list on the first page names
MACROS = {
    REPRODUCED: "reproduced",
    NOT_REPRODUCED: "notreproduced",
    INCONCLUSIVE: "inconclusive",
    REFUTED: "refuted",
    NOT_TESTED: "nottested",
}
TRAINING = ("test_loss", "test_accuracy", "steps_to_target")  # what a reader would change an optimizer for


def strongest(rows: Iterable[Plain]) -> list[Plain]:
    """Return rows, those first whose estimate lies most margins from zero; costs that held come last."""
    cheap = lambda row: row["verdict"] == REPRODUCED and is_cost(row)  # noqa: E731
    return sorted(rows, key=lambda row: (cheap(row), -abs(found.at) if (found := bar(row)) else 0.0))


def is_cost(row: Plain) -> bool:
    return bool(row["test"]["kind"] == "ratio")


def listed(rows: Sequence[Plain]) -> str:
    """Return some of the rows' short sentences with what was measured, and how many more there are."""
    said = [f"“{row['short']}”{of_whom(row)}{size_of(row)}" for row in strongest(rows)[:MOST]]
    more = len(rows) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more else "")


def of_whom(row: Plain) -> str:
    """Return whose sentence it is, in brackets, where it does not say so itself."""
    name = {"per-example": "per-example gradients"}.get(row["paper"], row["paper"].upper())
    return "" if name in row["short"] else f" ({name})"


def size_of(row: Plain) -> str:
    """Return what was measured, after a comma; empty where there is no number."""
    return f", {found}" if (found := amount(row)) else ""


def sentences(rows: Sequence[Plain], *, runs: str) -> list[str]:
    """Return the first page's six: the question, what held, what failed, what is open or untested, what to use."""
    by = {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in MACROS}
    sizes = sorted({count for row in rows for count in row["parameters"]})
    scale = f"networks of {size(sizes[0])} to {size(sizes[-1])} parameters decide" if sizes else "no network decides"
    first = ", ".join(map(str, DESIGN.ns[:-1]))
    preset = f" (preset {rows[0]['preset']})" if rows else ""  # what was made may have no claims
    return [
        f"We put {len(rows)} sentences of four papers on gradient transforms to the test in {runs} runs of small "
        f"networks{preset}; {scale}, where the papers speak of up to 7 B. A verdict on training is an interval "
        f"over {first} or {DESIGN.ns[-1]} fresh seeds, at 95 % and stricter where looks and several claims ask for it.",
        held(by[REPRODUCED]),
        failed(by[NOT_REPRODUCED], by[REFUTED]),
        left_open(rows, by[INCONCLUSIVE]),
        waiting(by[NOT_TESTED]),
        advice(by[REPRODUCED], by[INCONCLUSIVE] + by[NOT_TESTED]),
    ]


def held(rows: Sequence[Plain]) -> str:
    costs = sum(map(is_cost, rows))
    if not rows:
        return "None of them held."
    kinds = f", {costs} of them about costs" if costs else ""
    return f"Held ({len(rows)}{kinds}): {listed(rows)}."


def failed(against: Sequence[Plain], refuted: Sequence[Plain]) -> str:
    ran = f"Did not hold when run ({len(against)}): {listed(against)}; " if against else "Nothing failed by running; "
    return f"{ran}contradicted by what their own documents print ({len(refuted)}): {listed(refuted)}."


def left_open(rows: Sequence[Plain], opened: Sequence[Plain]) -> str:
    """Say what stayed open, and that it was blind where it was."""
    if not opened:
        return "No comparison that was made stayed open."
    ratios = [row["detectable"] / row["margin"] for row in nulls(rows)]
    middle = f"; half of them could show nothing smaller than {figure(median(ratios))} margins" if ratios else ""
    many = sum(row["needed_n"] > FUTILE for row in opened if row["needed_n"] and row["runs"])
    beyond = f"; {many} would need more than {FUTILE} seeds" if many else ""
    return f"Open after running ({len(opened)}): {listed(opened)}{middle}{beyond}."


def waiting(rows: Sequence[Plain]) -> str:
    if not rows:
        return "No claim was left untested."
    needs = [f"{count} for want of {why}" for why, count in Counter(map(untested, rows)).most_common()]
    return f"Not tested ({len(rows)}): {'; '.join(needs)}."


def advice(found: Sequence[Plain], unknown: Sequence[Plain]) -> str:
    """Say what to use: a base optimizer; a claim that held is one comparison, whose controls its study discusses."""
    paired = [row for row in found if row["test"]["kind"] == "paired"]
    better = [row for row in paired if row["metric"].partition("/")[0] in TRAINING]
    if better:
        names = "; ".join(f"“{row['short']}”{of_whom(row)}" for row in strongest(better))
        first = "What to use: a tuned Adam or SGD. Before you try what held in training"
        return f"{first}, read what its controls say: {names}."
    never = "; an open claim is no evidence against a method" if unknown else ""
    return f"What to use: nothing here is a reason to leave a tuned Adam or SGD{never}."


def found_of(rows: Sequence[Plain]) -> str:
    """Return what was found of one paper, in one sentence: its strongest verdict of each kind."""
    kinds = {
        REPRODUCED: "held",
        NOT_REPRODUCED: "failed",
        REFUTED: "its own text contradicts",
        INCONCLUSIVE: "open",
    }
    parts = []
    for verdict, word in kinds.items():
        if found := strongest(row for row in rows if row["verdict"] == verdict):
            parts.append(f"{word}: “{found[0]['short']}”{size_of(found[0])}")
    return "; ".join(parts) or "nothing is decided yet"


def list_of(rows: Sequence[Plain]) -> str:
    r"""Return a study's verdicts as LaTeX: mark, claim and reason of each, the untested in one paragraph."""
    parts = []
    for verdict in (REPRODUCED, NOT_REPRODUCED, REFUTED, INCONCLUSIVE):
        parts += [
            rf"\finding{{{MACROS[verdict]}}}{{\hyperlink{{claim:{row['id']}}}{{{tex(row['short'])}}}}}"
            rf"{{{tex(reason(row))}{proof(row)}}}"
            for row in strongest(row for row in rows if row["verdict"] == verdict)
        ]
    left = [row for row in rows if row["verdict"] == NOT_TESTED]
    if left:
        shorts = "; ".join(row["short"] for row in left)
        reasons = " ".join(dict.fromkeys(reason(row) for row in left[:3]))
        first = "" if len(left) == 1 else "The first reasons: "
        parts.append(rf"\finding{{nottested}}{{{len(left)} not tested}}{{{tex(f'{shorts}. {first}{reasons}')}}}")
    return "\n".join(parts)


def proof(row: Plain) -> str:
    r"""Return a link to where the appendix names a reading's proof, as LaTeX; empty for what was run."""
    return rf" \hyperlink{{claim:{row['id']}}}{{\underline{{Proof}}.}}" if row["verdict"] == REFUTED else ""


def numbers(rows: Sequence[Plain], runs: str) -> dict[str, str]:
    """Return what the report cites: the six sentences, and each study's list."""
    texts = {f"abstract/{n}": tex(text) for n, text in enumerate(sentences(rows, runs=runs), start=1)}
    studies = list(dict.fromkeys(row["study"] for row in rows))
    for study in studies:
        texts[f"findings/{study.replace('_', '-')}"] = list_of([row for row in rows if row["study"] == study])
    return texts
