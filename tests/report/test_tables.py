"""Tables and clauses of the report on a few records: what ran, what waits, how many seeds, what was lost."""

import pandas as pd

from regrad.report.outcomes import Outcomes
from regrad.report.tables import GATE_WORDS, NOT_RUN, lost_text, seeds_text, to_latex
from tiny_runs import record, spec

GATE = {"arm": GATE_WORDS, "ours": "81.5, 85.0, 92.1"}


def runs(*seeds_by_arm, part="main", status="finished"):
    specs = [
        spec(seed=seed, tags={"part": part, "arm": arm, "phase": "fresh"})
        for arm, n in seeds_by_arm
        for seed in range(n)
    ]
    return [record(one, run_id=f"{one.tags}{one.seed}", status=status) for one in specs]


def test_a_table_whose_lines_all_wait_is_one_sentence_and_a_line_with_a_number_keeps_it():
    waits = {"arm": "Adam", "theirs": "92.91", "ours": NOT_RUN}
    assert to_latex(pd.DataFrame([waits, waits, GATE])) == rf"\emph{{{NOT_RUN}}}"
    half = waits | {"theirs": "85.4 [84.7, 86.1]"}
    for kept in ([half], [waits, half], [waits, {"arm": "SGD", "ours": "85.4"}], [GATE]):
        assert r"\toprule" in to_latex(pd.DataFrame(kept).fillna(""))


def test_seeds_are_told_as_a_range_where_arms_have_more():
    assert seeds_text(Outcomes([])) == "0"
    assert seeds_text(Outcomes(runs(("a", 5), ("b", 5)))) == "5"
    assert seeds_text(Outcomes(runs(("a", 5), ("b", 5)) + runs(("a", 10), part="other"))) == "5 to 10"


def test_lost_runs_are_told_with_how_many_were_meant_to_be_lost():
    whole, grid = runs(("a", 2)), runs(("b", 2), part="grid", status="diverged")
    lost = runs(("c", 1), status="diverged")

    def told(*records):
        return lost_text(Outcomes(records), Outcomes(records).part("grid"), "in the grid")

    assert told(*whole) == "none of which became non-finite or ended above its untrained model"
    among = "became non-finite or ended above their untrained model"
    assert told(*whole, *lost) == f"of which 1 {among}"
    assert told(*whole, *grid, *lost) == f"of which 3 {among}, 2 of them on purpose in the grid"
    assert told(*whole, *grid) == f"of which 2 {among}, all of them on purpose in the grid"
