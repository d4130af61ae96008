"""Tables of the study of where the sign goes: records in, data frame out."""

from collections.abc import Sequence

import pandas as pd

from regrad.claims.tasks import Task
from regrad.report.budgets import budgets, longer_cells
from regrad.report.gates import gate_text
from regrad.report.outcomes import Outcomes
from regrad.report.tables import GATE_WORDS, diverged_text, end_text, interval_text, significant
from regrad.report.tuning import rate, tuning_row
from regrad.results import Record
from regrad.studies.sign_placement.arms import REFERENCE, arms_of
from regrad.studies.sign_placement.noise import mean_predicted_snr


def results_table(records: Sequence[Record], tasks: Sequence[Task] = ()) -> pd.DataFrame:
    outcomes, snr = Outcomes(records), mean_predicted_snr(records)
    choices, reference = outcomes.choices(), outcomes.arm(REFERENCE.name).fresh
    lines = []
    for arm in arms_of(records):
        runs = outcomes.arm(arm.name).fresh
        gap = None if arm == REFERENCE else runs.gap(reference)
        lines.append(
            {
                "placement": arm.label,
                "LR": rate(choices[arm.name].best),
                "test loss [95 %]": end_text(outcomes.arm(arm.name)),
                "minus EMA [95 %]": interval_text(gap),
                **longer_cells(budgets(outcomes, "language"), arm.name, REFERENCE.name),
                "SNR": significant(snr[arm.name]) if arm.name in snr else "",
                "div.": diverged_text(runs),
            }
        )
    lines += [{"placement": GATE_WORDS, "test loss [95 %]": gate_text(task, 2)} for task in tasks]
    return pd.DataFrame(lines).fillna("")


def tuning_table(records: Sequence[Record]) -> pd.DataFrame:
    choices = Outcomes(records).choices()
    return pd.DataFrame(
        {"placement": arm.label, **tuning_row(choices[arm.name], decades=True)} for arm in arms_of(records)
    )
